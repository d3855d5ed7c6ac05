# SPDX-License-Identifier: Apache-2.0
# Compiler flags as INTERFACE targets, so that nothing global is edited and nothing of it reaches those who use weft:
#   weft_warnings  what every file of this project must compile under
#   weft_flags     debug checks and sanitizers: every object and every link of this build must have them alike

add_library(weft_warnings INTERFACE)
set(weft_warnings_both -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wvla -Wundef)
target_compile_options(
    weft_warnings
    INTERFACE
        "$<$<COMPILE_LANGUAGE:C>:${weft_warnings_both};-Wstrict-prototypes;-Wmissing-prototypes>"
        "$<$<COMPILE_LANGUAGE:CXX>:${weft_warnings_both}>"
        "$<$<AND:$<BOOL:${WEFT_WERROR}>,$<COMPILE_LANGUAGE:C,CXX>>:-Werror>"
)

add_library(weft_flags INTERFACE)
if(WEFT_DEBUG OR WEFT_SANITIZE)
    target_compile_definitions(weft_flags INTERFACE WEFT_DEBUG=1)
    target_compile_options(weft_flags INTERFACE -fno-omit-frame-pointer)
endif()

# Every atomic operation calls tests/support/delays.c, in tests that use the private headers as well.
if(WEFT_DELAYS)
    target_compile_definitions(weft_flags INTERFACE WEFT__SEAM_HOOK=1)
endif()

set(weft_sanitize_options "")
if(WEFT_SANITIZE STREQUAL "address")
    set(weft_sanitize_options -fsanitize=address,undefined -fno-sanitize-recover=all)
elseif(WEFT_SANITIZE STREQUAL "thread")
    # gcc 12's runtime dies when a program has made 8,128 fibers in its life.
    if(NOT CMAKE_C_COMPILER_ID STREQUAL "Clang")
        message(FATAL_ERROR "weft: WEFT_SANITIZE=thread needs clang (configure with the preset 'tsan')")
    endif()
    set(weft_sanitize_options -fsanitize=thread)
elseif(WEFT_SANITIZE)
    message(FATAL_ERROR "weft: WEFT_SANITIZE is '${WEFT_SANITIZE}'; it may be 'address', 'thread' or empty")
endif()
target_compile_options(weft_flags INTERFACE "$<$<COMPILE_LANGUAGE:C,CXX>:${weft_sanitize_options}>")
target_link_options(weft_flags INTERFACE ${weft_sanitize_options})
