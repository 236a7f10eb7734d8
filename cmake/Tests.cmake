# Tests are found by their place:
#
#   <folder>/*_test.cpp      one GoogleTest program per folder, label unit: test_<layer>, test_ipc, test_client,
#                            test_shim, test_daemon, test_driver_<name>, test_module_<name>, test_util_<name>
#   tests/support/*.cpp      iopkt_test_support: simulated networks and the like, linked into the tests that see a
#                            whole stack (stack, control, daemon, everything below tests/, fuzz/ and bench/). Lower
#                            layers may use what is header-only in it.
#   tests/<kind>/*_test.cpp  test_<kind>, label <kind> (sim, golden, abi ...); other *.c and *.cpp there go in too
#   tests/script/*.cpp       iopkt_script, the player of scripts; test_script plays every *.pkt below the folder
#   tests/abi/<name>_test.c  a C program of its own; it passes when it exits with 0
#   tests/programs/*.c,cpp   unprivileged little programs for system tests, linked with nothing of ours; static_*: statically
#   tests/link/impair.cpp    the simulator's links between two TAPs, for system tests and bench/impairment.py: tests/programs/impair
#   tests/drivers/*.c,cpp    devnp-<name>.so with faults, for tests of the plug-in boundary, in tests/drivers/
#   tests/system/*.py        run by scripts/test with pytest, not by ctest
#   fuzz/<name>_fuzz.cpp     fuzz_<name>; see below
#   bench/<name>.cpp         bench_<name>, built by the target `bench` only

function(iopkt_add_test name label)
  if(TARGET ${name})
    add_test(NAME ${name} COMMAND ${IOPKT_TEST_LAUNCHER} $<TARGET_FILE:${name}> ${ARGN}
             WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  else()
    add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  endif()
  # The limit only ends a test that hangs; no test is expected to come near it on any machine.
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 1800
    ENVIRONMENT "IOPKT_SOURCE_DIR=${CMAKE_SOURCE_DIR};IOPKT_BUILD_DIR=${CMAKE_BINARY_DIR}")
endfunction()

# One GoogleTest program from the tests in `dir`; ARGN: what it links.
function(iopkt_gtest name label dir)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${dir}/*_test.cpp)
  if(NOT sources)
    return()
  endif()
  add_executable(${name} ${sources})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  # A test may bring its own main(); the one of gtest_main, an archive, then stays out.
  target_link_libraries(${name} PRIVATE ${ARGN} iopkt_all_headers GTest::gmock GTest::gtest_main Threads::Threads)
  iopkt_add_test(${name} ${label})
endfunction()

function(iopkt_tests)
  find_package(GTest REQUIRED)
  find_program(IOPKT_PYTHON python3 HINTS /usr/bin REQUIRED) # the system's, which has the packages

  iopkt_sources(sources tests/support)
  iopkt_library(iopkt_test_support ${sources})
  iopkt_uses(iopkt_test_support iopkt_stack_v6 iopkt_all_headers)
  iopkt_sources(sources tests/script)
  iopkt_library(iopkt_script ${sources})
  iopkt_uses(iopkt_script iopkt_test_support)
  iopkt_gtest(test_script script tests/script iopkt_script ${CMAKE_DL_LIBS})
  # The stack behind packetdrill's own interface.
  iopkt_sources(sources tests/script/so)
  add_library(iopkt_packetdrill MODULE ${sources})
  set_target_properties(iopkt_packetdrill PROPERTIES OUTPUT_NAME iopkt-packetdrill
                        LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(iopkt_packetdrill PRIVATE iopkt_script)
  if(TARGET test_script)
    add_dependencies(test_script iopkt_packetdrill)
  endif()

  foreach(layer IN LISTS IOPKT_LAYERS)
    if(layer MATCHES "^(stack|control)$")
      iopkt_gtest(test_${layer} unit src/${layer} iopkt_test_support iopkt_${layer})
    else()
      iopkt_gtest(test_${layer} unit src/${layer} iopkt_${layer})
    endif()
  endforeach()
  iopkt_gtest(test_ipc unit ipc iopkt_ipc)
  iopkt_gtest(test_client unit client iopkt_client)
  iopkt_gtest(test_shim unit shim iopkt_client ${CMAKE_DL_LIBS})
  if(TARGET test_shim)
    iopkt_sources(sources shim)
    target_sources(test_shim PRIVATE ${sources})
  endif()
  iopkt_gtest(test_daemon unit daemon iopkt_daemon iopkt_test_support)

  # Drivers, modules and commands are not libraries: their test takes their sources in, except main.cpp.
  foreach(kind driver module util)
    iopkt_folders(names ${kind}s)
    foreach(name IN LISTS names)
      iopkt_extra(${kind}s/${name}/${kind}.cmake)
      if(skip)
        continue()
      endif()
      if(kind STREQUAL "util")
        list(APPEND libs iopkt_utils_common)
      else()
        list(APPEND libs iopkt_${kind}_support)
      endif()
      iopkt_gtest(test_${kind}_${name} unit ${kind}s/${name} ${libs})
      if(TARGET test_${kind}_${name} AND NOT name MATCHES "^(common|support)$")
        iopkt_sources(sources ${kind}s/${name})
        list(FILTER sources EXCLUDE REGEX "/main\\.(c|cpp)$")
        target_sources(test_${kind}_${name} PRIVATE ${sources})
        target_compile_definitions(test_${kind}_${name} PRIVATE ${defs})
      endif()
    endforeach()
  endforeach()

  iopkt_folders(kinds tests)
  list(REMOVE_ITEM kinds support script system layering programs drivers abi link)
  foreach(kind IN LISTS kinds)
    # The simulator needs nothing of the shell around the stack.
    set(shell iopkt_daemon iopkt_client)
    if(kind STREQUAL "sim")
      set(shell)
    endif()
    iopkt_gtest(test_${kind} ${kind} tests/${kind} iopkt_test_support ${shell} iopkt_stack_v4 ${CMAKE_DL_LIBS})
    if(TARGET test_${kind})
      iopkt_sources(sources tests/${kind})
      target_sources(test_${kind} PRIVATE ${sources})
    endif()
  endforeach()

  # The plug-in boundary: sees the installed headers and the built drivers, nothing of the stack.
  iopkt_gtest(test_abi abi tests/abi iopkt_public_headers ${CMAKE_DL_LIBS})
  if(TARGET test_abi)
    iopkt_sources(sources tests/abi)
    target_sources(test_abi PRIVATE ${sources})
    get_property(plugins GLOBAL PROPERTY IOPKT_PLUGINS)
    if(plugins)
      add_dependencies(test_abi ${plugins})
    endif()
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/abi/*_test.c)
  foreach(source IN LISTS sources)
    get_filename_component(name ${source} NAME_WE)
    add_executable(abi_${name} ${source})
    set_target_properties(abi_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_link_libraries(abi_${name} PRIVATE iopkt_public_headers ${CMAKE_DL_LIBS} Threads::Threads)
    iopkt_add_test(abi_${name} abi)
  endforeach()

  # Each installed header compiles alone, as strict C11 and as C++.
  file(GLOB headers CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/include/iopkt/*.h)
  set(generated)
  foreach(header IN LISTS headers)
    string(MAKE_C_IDENTIFIER ${header} name)
    foreach(language c cpp)
      set(file ${CMAKE_BINARY_DIR}/headers/${name}.${language})
      file(CONFIGURE OUTPUT ${file} CONTENT "#include <${header}>\n#include <${header}>\ntypedef int not_empty;\n")
      list(APPEND generated ${file})
    endforeach()
  endforeach()
  if(generated)
    add_library(iopkt_header_check OBJECT ${generated})
    target_link_libraries(iopkt_header_check PRIVATE iopkt_public_headers)
    set_target_properties(iopkt_header_check PROPERTIES C_EXTENSIONS OFF)
  endif()

  # The simulator's links between real interfaces.
  add_executable(program_impair tests/link/impair.cpp)
  set_target_properties(program_impair PROPERTIES OUTPUT_NAME impair RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/programs)
  target_link_libraries(program_impair PRIVATE iopkt_test_support)

  iopkt_sources(sources tests/programs)
  # shim_*: once more with sockets of AF_INET6, unless they are about one family.
  set(twice ${sources})
  list(FILTER twice INCLUDE REGEX "/shim_")
  list(FILTER twice EXCLUDE REGEX "_inet6\\.c$")
  list(TRANSFORM twice APPEND "|6")
  foreach(source IN LISTS sources twice)
    string(REPLACE "|" ";" source "${source}")
    list(GET source 0 file)
    get_filename_component(name ${file} NAME_WE)
    list(LENGTH source parts)
    if(parts GREATER 1)
      string(APPEND name 6)
    endif()
    set(source ${file})
    add_executable(program_${name} ${source})
    set_target_properties(program_${name} PROPERTIES OUTPUT_NAME ${name}
                          RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/programs)
    target_link_libraries(program_${name} PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
    if(name MATCHES "^shim_.*6$" AND NOT name MATCHES "_inet6$")
      target_compile_definitions(program_${name} PRIVATE SHIM_INET6)
    endif()
    # What no preloaded library reaches.
    if(name MATCHES "^static_")
      target_link_options(program_${name} PRIVATE -static)
    endif()
    # They stand for anybody's programs; a sanitizer's runtime would not bear the preloaded library before it.
    if(IOPKT_SANITIZE)
      target_link_options(program_${name} PRIVATE -fno-sanitize=all)
      target_compile_options(program_${name} PRIVATE -fno-sanitize=all)
    endif()
  endforeach()
  iopkt_sources(sources tests/drivers)
  foreach(source IN LISTS sources)
    get_filename_component(name ${source} NAME_WE)
    add_library(test_plugin_${name} MODULE ${source})
    set_target_properties(test_plugin_${name} PROPERTIES PREFIX "" OUTPUT_NAME devnp-${name}
                          LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/drivers)
    target_link_libraries(test_plugin_${name} PRIVATE iopkt_public_headers Threads::Threads)
  endforeach()

  get_target_property(kind iopkt_ipv6 TYPE)
  if(NOT kind STREQUAL "INTERFACE_LIBRARY" AND NOT IOPKT_SANITIZE)
    iopkt_add_test(variants unit ${IOPKT_PYTHON} tests/layering/check_variants.py ${CMAKE_NM} $<TARGET_FILE:iopkt_ipv6>
                   $<TARGET_FILE:io-pkt-v4-hc> $<TARGET_FILE:io-pkt-v6-hc>)
  endif()
  iopkt_add_test(layering unit ${IOPKT_PYTHON} tests/layering/check_layers.py ${CMAKE_SOURCE_DIR})
  iopkt_add_test(rfc_page unit ${IOPKT_PYTHON} scripts/rfc --check)
  iopkt_add_test(mutant_rows unit ${IOPKT_PYTHON} scripts/mutants --check)
  iopkt_add_test(drop_reasons unit ${IOPKT_PYTHON} tests/layering/check_drops.py ${CMAKE_SOURCE_DIR})
  iopkt_add_test(layering_selftest unit ${IOPKT_PYTHON} tests/layering/check_layers_selftest.py)
endfunction()

# fuzz/<name>_fuzz.cpp defines LLVMFuzzerTestOneInput. With the preset `fuzz` it becomes a libFuzzer program; everywhere
# else it is linked with replay_main.cpp, which feeds it fuzz/corpus/<name>/ and inputs from a fixed seed. Both run
# under ctest with the label fuzz-smoke.
function(iopkt_fuzzers)
  add_custom_target(fuzzers)  # all of them, and nothing else
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/fuzz/*_fuzz.cpp)
  foreach(source IN LISTS sources)
    get_filename_component(name ${source} NAME_WE)
    string(REGEX REPLACE "_fuzz$" "" name ${name})
    set(target fuzz_${name})
    set(corpus ${CMAKE_SOURCE_DIR}/fuzz/corpus/${name})
    add_executable(${target} ${source})
    if(name STREQUAL dhcp_client) # what is no part of a library
      target_sources(${target} PRIVATE ${CMAKE_SOURCE_DIR}/utils/dhcp.client/machine.cpp)
    endif()
    add_dependencies(fuzzers ${target})
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
    target_link_libraries(${target} PRIVATE iopkt_script iopkt_test_support iopkt_daemon iopkt_client iopkt_stack_v4)
    if(IOPKT_FUZZ)
      target_link_options(${target} PRIVATE -fsanitize=fuzzer)
      # libFuzzer writes what it finds into the first folder: never into the committed corpus.
      set(found ${CMAKE_BINARY_DIR}/fuzz/corpus/${name})
      file(MAKE_DIRECTORY ${found})
      set(seeds)
      if(IS_DIRECTORY ${corpus})
        set(seeds ${corpus})
      endif()
      iopkt_add_test(${target} fuzz-smoke -runs=2000 -seed=1 -artifact_prefix=${CMAKE_BINARY_DIR}/fuzz/${name}-
                     ${found} ${seeds})
    else()
      target_sources(${target} PRIVATE ${CMAKE_SOURCE_DIR}/fuzz/replay_main.cpp)
      iopkt_add_test(${target} fuzz-smoke ${corpus})
    endif()
  endforeach()
endfunction()

function(iopkt_benchmarks)
  find_package(benchmark QUIET)
  add_custom_target(bench)
  iopkt_sources(sources bench)
  if(sources AND NOT benchmark_FOUND)
    message(STATUS "bench/ is left out: Google Benchmark is not installed")
    return()
  endif()
  foreach(source IN LISTS sources)
    get_filename_component(name ${source} NAME_WE)
    add_executable(bench_${name} EXCLUDE_FROM_ALL ${source})
    set_target_properties(bench_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
    target_link_libraries(bench_${name} PRIVATE iopkt_test_support iopkt_daemon iopkt_client iopkt_stack_v4
                          benchmark::benchmark benchmark::benchmark_main)
    add_dependencies(bench bench_${name})
  endforeach()
endfunction()
