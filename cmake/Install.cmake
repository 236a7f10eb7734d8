# cmake --install and the Debian package (cpack -G DEB).
#
# Commands whose names the host already has (ifconfig, mount, sysctl, route ...) live in lib/io-pkt/bin, which a user
# may put in front of PATH; `iopkt NAME ...` reaches every one of them.

foreach(program io-pkt-v4-hc io-pkt-v6-hc)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION sbin)
  endif()
endforeach()
get_property(plugins GLOBAL PROPERTY IOPKT_PLUGINS)
if(plugins)
  install(TARGETS ${plugins} LIBRARY DESTINATION lib/io-pkt)
endif()
if(TARGET iopkt_shim)
  install(TARGETS iopkt_shim LIBRARY DESTINATION lib/io-pkt)
endif()
if(TARGET iopkt_launch)
  install(TARGETS iopkt_launch RUNTIME DESTINATION lib/io-pkt)
endif()
get_property(utils GLOBAL PROPERTY IOPKT_UTILS)
foreach(name IN LISTS utils)
  if(name STREQUAL "iopkt")
    install(TARGETS util_iopkt RUNTIME DESTINATION bin)
  else()
    install(TARGETS util_${name} RUNTIME DESTINATION lib/io-pkt/bin)
  endif()
endforeach()

file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/include/iopkt/*.h)
install(FILES ${headers} DESTINATION include/iopkt)
foreach(section 1 3 5 7 8)
  file(GLOB pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/man/*.${section})
  install(FILES ${pages} DESTINATION share/man/man${section})
endforeach()
set(texts LICENSE README.md ARCHITECTURE.md packaging/copyright)
list(TRANSFORM texts PREPEND ${CMAKE_SOURCE_DIR}/)
install(FILES ${texts} DESTINATION share/doc/io-pkt)

# The unit names the executable by its full path, which is known only now; the package is always for /usr.
install(CODE "
  set(prefix \"\${CMAKE_INSTALL_PREFIX}\")
  if(prefix MATCHES \"_CPack_Packages\")
    set(prefix /usr)
  endif()
  configure_file(\"${CMAKE_SOURCE_DIR}/packaging/io-pkt@.service.in\" \"${CMAKE_BINARY_DIR}/io-pkt@.service\" @ONLY)
")
install(FILES ${CMAKE_BINARY_DIR}/io-pkt@.service DESTINATION lib/systemd/system)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME io-pkt)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "The io-pkt developers <io-pkt@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "TCP/IP stack in a process")
set(CPACK_PACKAGE_DESCRIPTION
    "io-pkt is a whole TCP/IP stack that runs as an ordinary process, with drivers and modules that are loaded
into it. Unmodified programs use it through a preloaded library; several stacks run side by side.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/packaging/compress.cmake)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/packaging/postinst ${CMAKE_SOURCE_DIR}/packaging/prerm
    ${CMAKE_SOURCE_DIR}/packaging/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
