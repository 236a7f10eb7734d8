# Language, warnings, build types, sanitizers, compiler cache.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # drivers use the host's headers
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON) # every static library may end in the preloaded library
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(THREADS_PREFER_PTHREAD_FLAG ON)

option(IOPKT_WERROR "Warnings are errors" OFF)
set(IOPKT_SANITIZE "" CACHE STRING "Sanitizers for everything, e.g. address,undefined")
option(IOPKT_FUZZ "Build fuzz/ with libFuzzer (needs clang); otherwise they replay" OFF)
option(IOPKT_COVERAGE "Count what runs, for scripts/coverage (needs clang)" OFF)
# Words put before each test program. The thread sanitizer of gcc 12 stops at address layouts of newer kernels.
set(IOPKT_TEST_LAUNCHER "" CACHE STRING "Command prefix for test programs, e.g. setarch;-R")

# Dev is what people build all day: quick to compile, with the checks of the library on. Release is what is shipped.
set(CMAKE_C_FLAGS_DEV "-O1 -g1")
set(CMAKE_CXX_FLAGS_DEV "-O1 -g1 -D_GLIBCXX_ASSERTIONS")
set(CMAKE_C_FLAGS_RELEASE "-O2 -g1 -DNDEBUG -fstack-protector-strong -D_FORTIFY_SOURCE=2")
set(CMAKE_CXX_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Dev CACHE STRING "Dev, Debug or Release" FORCE)
endif()

add_link_options(-Wl,--as-needed -Wl,-z,relro -Wl,-z,now)

# -Wsign-conversion is left out: with sizes and offsets on every line it finds casts, not faults. Members that a
# designated initializer leaves out have their defaults on purpose.
set(iopkt_warnings -Wall -Wextra -Wpedantic -Wconversion -Wno-sign-conversion -Wno-missing-field-initializers
    -Wshadow -Wundef -Wpointer-arith -Wcast-qual -Wvla)
set(iopkt_warnings_cxx -Wnon-virtual-dtor -Woverloaded-virtual -Wextra-semi)
set(iopkt_warnings_c -Wstrict-prototypes -Wmissing-prototypes)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # These guess across inlining, and gcc 12 guesses wrong inside its own library often enough.
  list(APPEND iopkt_warnings -Wno-restrict)
  set(iopkt_no_error -Wno-error=maybe-uninitialized -Wno-error=stringop-overflow -Wno-error=stringop-overread
      -Wno-error=array-bounds -Wno-error=free-nonheap-object -Wno-error=dangling-pointer)
else()
  list(APPEND iopkt_warnings -Wno-missing-designated-field-initializers -Wno-gnu-zero-variadic-macro-arguments)
  # std::stable_sort of gcc's library uses what the library itself calls deprecated.
  list(APPEND iopkt_warnings -Wno-deprecated-declarations)
  # The shim's table of descriptors is constant from the start, all of its million elements.
  set_source_files_properties(shim/table.cpp PROPERTIES COMPILE_OPTIONS -fconstexpr-steps=33554432)
endif()
add_compile_options(${iopkt_warnings} "$<$<COMPILE_LANGUAGE:CXX>:${iopkt_warnings_cxx}>"
                    "$<$<COMPILE_LANGUAGE:C>:${iopkt_warnings_c}>")
if(IOPKT_WERROR)
  add_compile_options(-Werror ${iopkt_no_error})
endif()

if(IOPKT_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "IOPKT_FUZZ needs clang (scripts/setup --fuzz, then the preset 'fuzz')")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(IOPKT_SANITIZE)
  add_compile_options(-fsanitize=${IOPKT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${IOPKT_SANITIZE})
  if(IOPKT_SANITIZE MATCHES thread AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # It does not follow fences. Ours order a store before a system call, which it does not follow either.
    add_compile_options(-Wno-tsan)
  endif()
endif()

if(IOPKT_COVERAGE)
  # Threads and processes count in the same places, so that a number is what it says.
  add_compile_options(-fprofile-instr-generate -fcoverage-mapping -fprofile-update=atomic)
  add_link_options(-fprofile-instr-generate)
endif()

find_program(IOPKT_CCACHE ccache)
if(IOPKT_CCACHE)
  # Sources are named by absolute paths, so without the directory in the hash all build directories of one checkout
  # share the cache.
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_NOHASHDIR=1 ${IOPKT_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
