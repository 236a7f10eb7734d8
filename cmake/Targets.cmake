# What each folder becomes.
#
#   src/<layer>/*.cpp        iopkt_<layer>; all of them: iopkt_stack_v4, and with ipv6 iopkt_stack_v6
#   ipc/ client/ daemon/     iopkt_ipc, iopkt_client, iopkt_daemon
#   shim/                    lib/io-pkt/libiopkt-socket.so
#   launcher/                lib/io-pkt/iopkt-launch
#   daemon/main_v4.cpp       sbin/io-pkt-v4-hc      (main_v6.cpp: io-pkt-v6-hc)
#   drivers/<name>/          lib/io-pkt/devnp-<name>.so
#   modules/<name>/          lib/io-pkt/lsm-<name>.so
#   drivers/support/         iopkt_driver_support, linked into every driver (modules/support: into every module);
#                            both are included as "support/log.hpp" or "../support/log.hpp"
#   utils/common/            iopkt_utils_common, linked into every command
#   utils/<name>/            lib/io-pkt/bin/<name>  (iopkt: bin/iopkt)
#
# The build directory has the layout of the installed tree, so that a program finds its neighbours by the same
# relative path in both. Files named *_test.cpp never go into any of these: see Tests.cmake.
#
# Extra libraries: a folder may hold driver.cmake, module.cmake, util.cmake, or <folder>.cmake (daemon/daemon.cmake),
# read before its target is made. In it:
#   needs_package(slirp)        a pkg-config name; when it is missing the target is left out with a message
#   list(APPEND libs m)         libraries           list(APPEND defs NAME=1)     definitions
#   list(APPEND options -O3)    compile options     set(skip "why")              leave the target out

set(IOPKT_LIBDIR ${CMAKE_BINARY_DIR}/lib/io-pkt)
set(IOPKT_SHIM_NAME libiopkt-socket.so)

# Sources below `dir` (not recursive), without tests.
function(iopkt_sources out dir)
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${dir}/*.c ${CMAKE_SOURCE_DIR}/${dir}/*.cpp)
  list(FILTER files EXCLUDE REGEX "_test\\.(c|cpp)$")
  set(${out} ${files} PARENT_SCOPE)
endfunction()

# Names of the folders right below `dir`.
function(iopkt_folders out dir)
  file(GLOB entries CONFIGURE_DEPENDS LIST_DIRECTORIES true RELATIVE ${CMAKE_SOURCE_DIR}/${dir}
       ${CMAKE_SOURCE_DIR}/${dir}/*)
  set(found)
  foreach(entry IN LISTS entries)
    if(IS_DIRECTORY ${CMAKE_SOURCE_DIR}/${dir}/${entry})
      list(APPEND found ${entry})
    endif()
  endforeach()
  set(${out} ${found} PARENT_SCOPE)
endfunction()

macro(needs_package name)
  string(MAKE_C_IDENTIFIER "IOPKT_PC_${name}" needs_package_var)
  pkg_check_modules(${needs_package_var} QUIET IMPORTED_TARGET GLOBAL ${name})
  if(${needs_package_var}_FOUND)
    list(APPEND libs PkgConfig::${needs_package_var})
  else()
    set(skip "${name} is not installed")
  endif()
endmacro()

# Reads a folder's optional settings into libs, defs, options and skip of the caller.
macro(iopkt_extra file)
  set(libs)
  set(defs)
  set(options)
  set(skip)
  set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${file})
  include(${CMAKE_SOURCE_DIR}/${file} OPTIONAL)
endmacro()

# Where quoted includes are looked up: "wire/udp.hpp" and <iopkt/driver.h>.
add_library(iopkt_public_headers INTERFACE)
target_include_directories(iopkt_public_headers INTERFACE ${CMAKE_SOURCE_DIR}/include)
add_library(iopkt_headers INTERFACE)
target_link_libraries(iopkt_headers INTERFACE iopkt_public_headers)
target_include_directories(iopkt_headers INTERFACE ${CMAKE_SOURCE_DIR}/src)
# And "ipc/ring.hpp", "daemon/options.hpp", "tests/support/sim_net.hpp".
add_library(iopkt_all_headers INTERFACE)
target_link_libraries(iopkt_all_headers INTERFACE iopkt_headers)
target_include_directories(iopkt_all_headers INTERFACE ${CMAKE_SOURCE_DIR})

# A static library from sources that may be none yet (or a folder of headers only).
function(iopkt_library target)
  if(ARGN)
    add_library(${target} STATIC ${ARGN})
  else()
    add_library(${target} INTERFACE)
  endif()
endfunction()

# target_link_libraries and friends, whatever iopkt_library made.
function(iopkt_uses target)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "INTERFACE_LIBRARY")
    target_link_libraries(${target} INTERFACE ${ARGN})
  else()
    target_link_libraries(${target} PUBLIC ${ARGN})
  endif()
endfunction()

function(iopkt_stack)
  set(table ${CMAKE_SOURCE_DIR}/tests/layering/layers.txt)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${table})
  file(STRINGS ${table} layers REGEX "^[a-z]")
  iopkt_folders(present src)
  foreach(layer IN LISTS present)
    if(NOT layer IN_LIST layers)
      message(WARNING "src/${layer} is not in tests/layering/layers.txt; taken as the topmost layer")
      list(APPEND layers ${layer})
    endif()
  endforeach()

  # Each layer links the one below it, so that it can be built and tested without those above. src/ipv6 stands
  # beside the chain: the v4 stack must link without it.
  set(below iopkt_headers)
  foreach(layer IN LISTS layers)
    iopkt_extra(src/${layer}/layer.cmake)
    iopkt_sources(sources src/${layer})
    iopkt_library(iopkt_${layer} ${sources})
    iopkt_uses(iopkt_${layer} ${below} ${libs})
    if(NOT layer STREQUAL "ipv6")
      set(below iopkt_${layer})
    endif()
  endforeach()
  add_library(iopkt_stack_v4 INTERFACE)
  target_link_libraries(iopkt_stack_v4 INTERFACE ${below})
  add_library(iopkt_stack_v6 INTERFACE)
  target_link_libraries(iopkt_stack_v6 INTERFACE iopkt_stack_v4 iopkt_ipv6)
  set(IOPKT_LAYERS ${layers} PARENT_SCOPE)
endfunction()

# drivers/<name> -> devnp-<name>.so, modules/<name> -> lsm-<name>.so. They see the installed headers only.
function(iopkt_plugin kind prefix name)
  iopkt_extra(${kind}s/${name}/${kind}.cmake)
  if(skip)
    message(STATUS "${kind} ${prefix}${name}.so is left out: ${skip}")
    return()
  endif()
  iopkt_sources(sources ${kind}s/${name})
  if(NOT sources)
    return()
  endif()
  set(target ${prefix}${name})
  add_library(${target} MODULE ${sources})
  set_target_properties(${target} PROPERTIES PREFIX "" OUTPUT_NAME ${target}
                        LIBRARY_OUTPUT_DIRECTORY ${IOPKT_LIBDIR})
  target_link_libraries(${target} PRIVATE iopkt_${kind}_support Threads::Threads ${libs})
  target_compile_definitions(${target} PRIVATE ${defs})
  target_compile_options(${target} PRIVATE ${options})
  if(NOT IOPKT_SANITIZE)
    target_link_options(${target} PRIVATE -Wl,-z,defs)
  endif()
  set_property(GLOBAL APPEND PROPERTY IOPKT_PLUGINS ${target})
endfunction()

function(iopkt_programs)
  find_package(fmt REQUIRED)
  find_package(spdlog REQUIRED)
  find_package(nlohmann_json REQUIRED)
  pkg_check_modules(SYSTEMD QUIET IMPORTED_TARGET GLOBAL libsystemd)
  pkg_check_modules(LIBCAP QUIET IMPORTED_TARGET GLOBAL libcap)
  pkg_check_modules(SECCOMP QUIET IMPORTED_TARGET GLOBAL libseccomp)

  # ipc: what client and daemon share.
  iopkt_extra(ipc/ipc.cmake)
  iopkt_sources(sources ipc)
  iopkt_library(iopkt_ipc ${sources})
  iopkt_uses(iopkt_ipc iopkt_wire iopkt_all_headers ${libs})

  # client: what shim, launcher and commands share.
  iopkt_extra(client/client.cmake)
  iopkt_sources(sources client)
  iopkt_library(iopkt_client ${sources})
  iopkt_uses(iopkt_client iopkt_ipc Threads::Threads ${libs})

  # shim: must load into any program, so it brings its own C++ library and shows only what it means to replace.
  iopkt_extra(shim/shim.cmake)
  iopkt_sources(sources shim)
  if(sources)
    add_library(iopkt_shim SHARED ${sources})
    set_target_properties(iopkt_shim PROPERTIES OUTPUT_NAME iopkt-socket LIBRARY_OUTPUT_DIRECTORY ${IOPKT_LIBDIR})
    target_link_libraries(iopkt_shim PRIVATE ${libs} ${CMAKE_DL_LIBS})
    target_compile_definitions(iopkt_shim PRIVATE ${defs})
    target_compile_options(iopkt_shim PRIVATE ${options})
    target_link_options(iopkt_shim PRIVATE -Wl,--exclude-libs,ALL)
    target_link_options(iopkt_shim PRIVATE -static-libstdc++ -static-libgcc -Wl,-z,defs)
    if(IOPKT_SANITIZE)
      # No program can take in a sanitizer's runtime so late: what is preloaded is made of plain objects of its own.
      foreach(folder src/base src/wire ipc client)
        iopkt_sources(sources ${folder})
        target_sources(iopkt_shim PRIVATE ${sources})
      endforeach()
      target_include_directories(iopkt_shim PRIVATE $<TARGET_PROPERTY:iopkt_client,INTERFACE_INCLUDE_DIRECTORIES>)
      target_compile_options(iopkt_shim PRIVATE -fno-sanitize=all)
      target_link_options(iopkt_shim PRIVATE -fno-sanitize=all)
    else()
      target_link_libraries(iopkt_shim PRIVATE iopkt_client)
    endif()
    if(EXISTS ${CMAKE_SOURCE_DIR}/shim/exports.map)
      target_link_options(iopkt_shim PRIVATE -Wl,--version-script=${CMAKE_SOURCE_DIR}/shim/exports.map)
      set_property(TARGET iopkt_shim APPEND PROPERTY LINK_DEPENDS ${CMAKE_SOURCE_DIR}/shim/exports.map)
    endif()
  endif()

  # launcher: for programs that do not use libc.
  iopkt_extra(launcher/launcher.cmake)
  iopkt_sources(sources launcher)
  if(sources AND NOT SECCOMP_FOUND)
    set(skip "libseccomp is not installed")
  endif()
  if(sources AND skip)
    message(STATUS "iopkt-launch is left out: ${skip}")
  elseif(sources)
    add_executable(iopkt_launch ${sources})
    set_target_properties(iopkt_launch PROPERTIES OUTPUT_NAME iopkt-launch RUNTIME_OUTPUT_DIRECTORY ${IOPKT_LIBDIR})
    target_link_libraries(iopkt_launch PRIVATE iopkt_client PkgConfig::SECCOMP ${libs})
  endif()

  # daemon: a library that both executables share; they differ in the stack they link.
  iopkt_extra(daemon/daemon.cmake)
  iopkt_sources(sources daemon)
  list(FILTER sources EXCLUDE REGEX "/main_v[46]\\.cpp$")
  iopkt_library(iopkt_daemon ${sources})
  foreach(optional SYSTEMD LIBCAP SECCOMP)
    if(${optional}_FOUND)
      list(APPEND libs PkgConfig::${optional})
      list(APPEND defs IOPKT_HAVE_${optional}=1)
    endif()
  endforeach()
  iopkt_uses(iopkt_daemon iopkt_ipc spdlog::spdlog fmt::fmt Threads::Threads ${CMAKE_DL_LIBS} ${libs})
  if(sources)
    target_compile_definitions(iopkt_daemon PUBLIC ${defs})
    target_compile_options(iopkt_daemon PRIVATE ${options})
  endif()
  foreach(family v4 v6)
    if(EXISTS ${CMAKE_SOURCE_DIR}/daemon/main_${family}.cpp)
      add_executable(io-pkt-${family}-hc ${CMAKE_SOURCE_DIR}/daemon/main_${family}.cpp)
      set_target_properties(io-pkt-${family}-hc PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/sbin)
      target_link_libraries(io-pkt-${family}-hc PRIVATE iopkt_daemon iopkt_stack_${family})
      target_compile_definitions(io-pkt-${family}-hc PRIVATE ${defs})
    endif()
  endforeach()

  foreach(plugin driver:devnp- module:lsm-)
    string(REPLACE ":" ";" plugin ${plugin})
    list(GET plugin 0 kind)
    list(GET plugin 1 prefix)
    iopkt_sources(sources ${kind}s/support)
    iopkt_library(iopkt_${kind}_support ${sources})
    iopkt_uses(iopkt_${kind}_support iopkt_public_headers)
    target_include_directories(iopkt_${kind}_support INTERFACE ${CMAKE_SOURCE_DIR}/${kind}s)
    iopkt_folders(names ${kind}s)
    list(REMOVE_ITEM names support)
    foreach(name IN LISTS names)
      iopkt_plugin(${kind} ${prefix} ${name})
    endforeach()
  endforeach()

  # utils.
  iopkt_extra(utils/common/util.cmake)
  iopkt_sources(sources utils/common)
  iopkt_library(iopkt_utils_common ${sources})
  iopkt_uses(iopkt_utils_common iopkt_client fmt::fmt nlohmann_json::nlohmann_json ${libs})
  iopkt_folders(names utils)
  list(REMOVE_ITEM names common)
  foreach(name IN LISTS names)
    iopkt_extra(utils/${name}/util.cmake)
    iopkt_sources(sources utils/${name})
    if(NOT sources)
      continue()
    elseif(skip)
      message(STATUS "command ${name} is left out: ${skip}")
      continue()
    endif()
    add_executable(util_${name} ${sources})
    set_target_properties(util_${name} PROPERTIES OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${IOPKT_LIBDIR}/bin)
    if(name STREQUAL "iopkt")
      set_target_properties(util_iopkt PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
    endif()
    target_link_libraries(util_${name} PRIVATE iopkt_utils_common ${libs})
    target_compile_definitions(util_${name} PRIVATE ${defs})
    target_compile_options(util_${name} PRIVATE ${options})
    set_property(GLOBAL APPEND PROPERTY IOPKT_UTILS ${name})
  endforeach()
endfunction()
