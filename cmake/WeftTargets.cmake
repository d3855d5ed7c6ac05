# SPDX-License-Identifier: Apache-2.0
# How the programs and tests of this project are built.
#   weft_program(NAME SOURCES... [LIBRARIES ...])  a program in bin/, an ordinary client of the library
#   weft_test(NAME SOURCES... [LABELS ...] [LIBRARIES ...])  a cmocka test, bin/test_NAME and a ctest of the same name
#   weft_test_properties(TEST... [LABELS ...] [TIMEOUT s])  the settings that every test of this project has

# The programs carry the static library, so that one file can be copied and run.
function(weft_program name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LIBRARIES")
    add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
    set_target_properties(
        ${name}
        PROPERTIES
            RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin
            C_STANDARD 17
            C_STANDARD_REQUIRED ON
            C_EXTENSIONS ON
            CXX_STANDARD 20
            CXX_STANDARD_REQUIRED ON
            CXX_EXTENSIONS ON
    )
    target_link_libraries(${name} PRIVATE weft::weft_static weft_warnings weft_flags ${arg_LIBRARIES})
    target_link_options(${name} PRIVATE LINKER:-z,now)
endfunction()

function(weft_test_properties)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "TIMEOUT" "LABELS")
    if(NOT arg_TIMEOUT) # what hangs is to end; a slow machine is not to be judged
        set(arg_TIMEOUT 300)
    endif()
    set(environment
        "ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=0:abort_on_error=0"
        "UBSAN_OPTIONS=print_stacktrace=1"
        "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp:halt_on_error=1:second_deadlock_stack=1"
        "WEFT_BIN=${PROJECT_BINARY_DIR}/bin"
    )
    set_tests_properties(
        ${arg_UNPARSED_ARGUMENTS}
        PROPERTIES
            LABELS "${arg_LABELS}"
            TIMEOUT ${arg_TIMEOUT}
            SKIP_RETURN_CODE 77
            ENVIRONMENT "${environment}"
    )
endfunction()

function(weft_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "LABELS;LIBRARIES")
    if(NOT arg_LABELS)
        set(arg_LABELS unit)
    endif()
    weft_program(test_${name} ${arg_UNPARSED_ARGUMENTS} LIBRARIES ${arg_LIBRARIES} PkgConfig::CMOCKA PkgConfig::CK)
    target_include_directories(test_${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/tests)
    target_compile_definitions(test_${name} PRIVATE "$<$<COMPILE_LANGUAGE:C>:_GNU_SOURCE=>")
    add_test(NAME ${name} COMMAND test_${name})
    weft_test_properties(${name} LABELS ${arg_LABELS} TIMEOUT ${arg_TIMEOUT})
endfunction()
