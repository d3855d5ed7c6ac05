# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts in place: headers, both libraries, weft.pc and the CMake package weft. The prefix may be moved
# afterwards: everything finds the rest relative to itself.
include(CMakePackageConfigHelpers)

install(FILES include/weft.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY include/weft DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(FILES scripts/weft-gdb.py DESTINATION ${CMAKE_INSTALL_DATADIR}/weft)

# Two export sets: who uses only the shared library needs no ck and no hwloc to be there for developing.
foreach(kind IN ITEMS shared static)
    install(
        TARGETS weft_${kind}
        EXPORT weft-${kind}
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    )
    install(
        EXPORT weft-${kind}
        NAMESPACE weft::
        FILE weft-${kind}.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/weft
    )
endforeach()

configure_package_config_file(
    cmake/weftConfig.cmake.in
    ${PROJECT_BINARY_DIR}/weftConfig.cmake
    INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/weft
)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/weftConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(
    FILES ${PROJECT_BINARY_DIR}/weftConfig.cmake ${PROJECT_BINARY_DIR}/weftConfigVersion.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/weft
)

# weft.pc stands in <libdir>/pkgconfig; its prefix is told from there, unless libdir was given as an absolute path.
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
    set(weft_pc_prefix ${CMAKE_INSTALL_PREFIX})
    set(weft_pc_libdir ${CMAKE_INSTALL_LIBDIR})
else()
    file(RELATIVE_PATH weft_pc_up /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
    string(REGEX REPLACE "/$" "" weft_pc_up "${weft_pc_up}")
    set(weft_pc_prefix "\${pcfiledir}/${weft_pc_up}")
    set(weft_pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
endif()
if(IS_ABSOLUTE ${CMAKE_INSTALL_INCLUDEDIR})
    set(weft_pc_includedir ${CMAKE_INSTALL_INCLUDEDIR})
else()
    set(weft_pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file(cmake/weft.pc.in ${PROJECT_BINARY_DIR}/weft.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/weft.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
