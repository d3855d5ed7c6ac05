# SPDX-License-Identifier: Apache-2.0
# cmake -DPROGRAM=... -DEXPECTED=... -P compare.cmake: run the program on the virtual clock; it must end with status 0, print
# what the file holds, and say nothing on stderr.
file(READ ${EXPECTED} expected)
execute_process(
    COMMAND ${CMAKE_COMMAND} -E env WEFT_EXAMPLE_VIRTUAL=1 ${PROGRAM}
    OUTPUT_VARIABLE output
    ERROR_VARIABLE errors
    RESULT_VARIABLE status
)
if(NOT status STREQUAL "0" OR NOT output STREQUAL expected OR NOT errors STREQUAL "")
    message(FATAL_ERROR "status ${status}\n--- printed ---\n${output}--- expected ---\n${expected}--- stderr ---\n${errors}")
endif()
