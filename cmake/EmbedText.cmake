# SPDX-License-Identifier: Apache-2.0
# cmake -DINPUT=FILE -DOUTPUT=FILE.c -DNAME=symbol -P EmbedText.cmake: a text file as a C array of bytes that ends with a 0.
file(READ "${INPUT}" text HEX)
string(LENGTH "${text}" length)
# Without characters beyond ASCII, every byte fits a signed char.
if(text MATCHES "^([0-9a-f][0-9a-f])*[89a-f][0-9a-f]")
    message(FATAL_ERROR "${INPUT}: only ASCII may be embedded")
endif()
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," text "${text}")
string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n" text "${text}")
file(WRITE "${OUTPUT}" "extern const char ${NAME}[];\nconst char ${NAME}[] = {\n${text}0};\n")
