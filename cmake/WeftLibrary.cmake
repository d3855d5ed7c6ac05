# SPDX-License-Identifier: Apache-2.0
# The library: compiled once, position independent, then packed as a shared and as a static one.
#   weft::weft         the shared library, libweft.so.0
#   weft::weft_static  the static library, libweft.a; the programs and tests of this project link this one

find_package(Threads REQUIRED GLOBAL)
find_package(PkgConfig REQUIRED)
pkg_check_modules(CK REQUIRED IMPORTED_TARGET GLOBAL ck)
pkg_check_modules(HWLOC REQUIRED IMPORTED_TARGET GLOBAL hwloc)

# The switch between stacks exists for these; anything else is told so here, not by the linker.
string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" weft_processor)
if(weft_processor MATCHES "^(x86_64|amd64)$")
    set(weft_arch x86_64)
elseif(weft_processor MATCHES "^(aarch64|arm64)$")
    set(weft_arch aarch64)
else()
    message(FATAL_ERROR "weft: no context switch for '${CMAKE_SYSTEM_PROCESSOR}' (there is one for x86_64 and aarch64)")
endif()

# All C files of the two layers belong to the library, so the folders are the list: a file put there is built, and one
# that nobody builds cannot lie around. CONFIGURE_DEPENDS makes the build look again by itself. The assembly files are
# alternatives, so the right one is named.
file(GLOB weft_sources CONFIGURE_DEPENDS executor/*.c io/*.c)
if(WEFT_DELAYS)
    list(APPEND weft_sources tests/support/delays.c)
endif()
add_library(weft_objects OBJECT ${weft_sources} executor/context_${weft_arch}.S)
set_target_properties(
    weft_objects
    PROPERTIES
        C_STANDARD 17
        C_STANDARD_REQUIRED ON
        C_EXTENSIONS ON
        C_VISIBILITY_PRESET hidden
        POSITION_INDEPENDENT_CODE ON
)
target_include_directories(weft_objects PUBLIC include PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(weft_objects PRIVATE weft_warnings weft_flags PkgConfig::CK PkgConfig::HWLOC Threads::Threads)
# Linux and glibc: all they have may be used. (Empty, as "#define _GNU_SOURCE" in a file has it.)
target_compile_definitions(weft_objects PRIVATE "$<$<COMPILE_LANGUAGE:C>:_GNU_SOURCE=>")
target_compile_options(
    weft_objects
    PRIVATE
        $<$<COMPILE_LANGUAGE:C>:
        # C++ exceptions pass through our frames on their way, and gdb and perf can stand at any instruction.
        -fexceptions
        -fasynchronous-unwind-tables
        # Nobody can replace one of our functions under our feet, so calls among them are direct ones; calls to others
        # go through the table once, filled at start: lazy binding would save all vector state on a task's small stack.
        -fno-semantic-interposition
        -fno-plt
        # No call and no allocation behind a thread-local variable, which may be met on a task's stack.
        -ftls-model=initial-exec
        >
)

function(weft_add_library target type)
    add_library(${target} ${type} $<TARGET_OBJECTS:weft_objects>)
    set_target_properties(
        ${target}
        PROPERTIES
            OUTPUT_NAME weft
            LINKER_LANGUAGE C
            ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib
            LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib
    )
    target_include_directories(
        ${target}
        INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    )
    # Touch each page of a large local array in turn, so that it meets the guard below a task's stack and cannot jump over it.
    target_compile_options(${target} INTERFACE $<$<COMPILE_LANGUAGE:C,CXX>:-fstack-clash-protection>)
endfunction()

weft_add_library(weft_shared SHARED)
set_target_properties(
    weft_shared
    PROPERTIES
        EXPORT_NAME weft
        VERSION ${PROJECT_VERSION}
        SOVERSION ${PROJECT_VERSION_MAJOR}
        LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/weft.map
)
target_link_options(
    weft_shared
    PRIVATE
        LINKER:--version-script=${PROJECT_SOURCE_DIR}/cmake/weft.map
        LINKER:-z,now
        ${weft_sanitize_options}
)
if(NOT WEFT_SANITIZE)
    target_link_options(weft_shared PRIVATE LINKER:-z,defs) # the sanitizers' functions come with the program
endif()
# By file, not by target: who links the shared library needs neither ck nor hwloc to be installed for developing.
target_link_libraries(weft_shared PRIVATE ${CK_LINK_LIBRARIES} ${HWLOC_LINK_LIBRARIES} ${CMAKE_THREAD_LIBS_INIT})
add_library(weft::weft ALIAS weft_shared)

weft_add_library(weft_static STATIC)
target_link_libraries(weft_static INTERFACE PkgConfig::CK PkgConfig::HWLOC Threads::Threads)
add_library(weft::weft_static ALIAS weft_static)
