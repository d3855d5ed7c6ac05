# SPDX-License-Identifier: Apache-2.0
# The list file of a client project (run.sh puts it beside the sources as CMakeLists.txt).
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C CXX)
find_package(weft 0.1 REQUIRED COMPONENTS shared static)
set(CMAKE_C_STANDARD 17)
set(CMAKE_CXX_STANDARD 20)
foreach(kind IN ITEMS weft weft_static)
    add_executable(c_${kind} consumer.c)
    target_link_libraries(c_${kind} PRIVATE weft::${kind})
    add_executable(cxx_${kind} consumer.cpp)
    target_link_libraries(cxx_${kind} PRIVATE weft::${kind})
endforeach()
