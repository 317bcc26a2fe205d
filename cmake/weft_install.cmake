# What `cmake --install` puts down: the headers, the libraries, a CMake package and pkg-config files.
# tests/install builds a program against each of the two.
include(CMakePackageConfigHelpers)

set(weft_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/weft")
set(weft_installed weft)
if(TARGET weft_http)
  list(APPEND weft_installed weft_http)
endif()

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/weft" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
  FILES_MATCHING PATTERN "*.hpp")
install(FILES "${PROJECT_SOURCE_DIR}/scripts/gdb/weft-gdb.py" DESTINATION "${CMAKE_INSTALL_DATADIR}/weft/gdb")
install(TARGETS ${weft_installed} EXPORT weft_targets
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(EXPORT weft_targets NAMESPACE weft:: DESTINATION "${weft_package_dir}")

configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/weftConfig.cmake.in" "${PROJECT_BINARY_DIR}/weftConfig.cmake"
  INSTALL_DESTINATION "${weft_package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/weftConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/weftConfig.cmake" "${PROJECT_BINARY_DIR}/weftConfigVersion.cmake"
  DESTINATION "${weft_package_dir}")

# pkg-config: all paths go from where the .pc file lies, so that the prefix may be given at install time or moved.
file(RELATIVE_PATH weft_pc_prefix "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
string(REGEX REPLACE "/$" "" weft_pc_prefix "${weft_pc_prefix}")
cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_INCLUDEDIR BASE_DIRECTORY "\${prefix}" OUTPUT_VARIABLE weft_pc_includedir)
cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_LIBDIR BASE_DIRECTORY "\${prefix}" OUTPUT_VARIABLE weft_pc_libdir)

# A static library's own dependencies stand in Libs, since few callers ask with --static. Boost's folder is named only
# where the linker would not look by itself.
set(weft_pc_static_libs "")
set(weft_pc_defines "")
if(WEFT_LOCK_ORDER)
  set(weft_pc_defines " -DWEFT_LOCK_ORDER=1")
endif()
set(weft_pc_static_http_libs "")
if(NOT BUILD_SHARED_LIBS)
  set(weft_pc_boost_dir "")
  cmake_path(SET weft_boost_lib_dir NORMALIZE "${Boost_INCLUDE_DIRS}/../lib")
  if(NOT Boost_INCLUDE_DIRS STREQUAL "/usr/include" AND EXISTS "${weft_boost_lib_dir}")
    set(weft_pc_boost_dir "-L${weft_boost_lib_dir} ")
  endif()
  set(weft_pc_static_libs " ${weft_pc_boost_dir}-lboost_context")
  set(weft_pc_static_http_libs " ${weft_pc_boost_dir}-lboost_json")
endif()
configure_file("${CMAKE_CURRENT_LIST_DIR}/weft.pc.in" "${PROJECT_BINARY_DIR}/weft.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/weft.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
if(TARGET weft_http)
  configure_file("${CMAKE_CURRENT_LIST_DIR}/weft-http.pc.in" "${PROJECT_BINARY_DIR}/weft-http.pc" @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/weft-http.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endif()
