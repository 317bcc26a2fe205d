# How each target of this build is compiled: warnings, sanitizer, frame pointers. Nothing here reaches a user's
# targets, but for the interface of weft_library.

# Compilations are kept by ccache where it is to be had, unless the caller has named a launcher.
find_program(WEFT_CCACHE ccache)
mark_as_advanced(WEFT_CCACHE)
if(WEFT_CCACHE AND PROJECT_IS_TOP_LEVEL AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # With these it also keeps what is compiled with a precompiled header. By what each file includes and not by the preprocessed text: that says
  # nothing of comments, and a header of which only a comment has changed is to GCC another one than its copy in a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env CCACHE_DEPEND=1 CCACHE_SLOPPINESS=pch_defines,time_macros
      "${WEFT_CCACHE}")
endif()

# Sanitizers hold for the whole directory: a program with one half of it instrumented reports nonsense.
if(WEFT_SANITIZE STREQUAL "address" OR WEFT_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=${WEFT_SANITIZE})
  add_link_options(-fsanitize=${WEFT_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC warns of each atomic_thread_fence under tsan (docs/memory-model.md says how they are covered), and takes what
    # the instrumentation of inline functions in the standard library and in Boost does for reads of uninitialised memory.
    set(weft_sanitizer_warnings -Wno-tsan -Wno-maybe-uninitialized -Wno-uninitialized)
  elseif(WEFT_SANITIZE STREQUAL "address")
    # As GCC's default: with fake stacks on the heap, frames are not where the tests of stacks look for them.
    add_compile_options(-fsanitize-address-use-after-return=never)
  endif()
elseif(WEFT_SANITIZE)
  message(FATAL_ERROR "WEFT_SANITIZE is '${WEFT_SANITIZE}': it may be empty, address or thread")
endif()

# Coverage for libFuzzer, in the libraries as well as in the fuzz targets.
if(WEFT_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang" OR NOT WEFT_SANITIZE STREQUAL "address")
    message(FATAL_ERROR "WEFT_FUZZ needs Clang and WEFT_SANITIZE=address (preset fuzz)")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# weft_target(<target>): C++23, warnings, and frame pointers for the backtraces of dumps and overflow reports.
function(weft_target target)
  target_compile_features(${target} PRIVATE cxx_std_23)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -fno-omit-frame-pointer)
  target_compile_options(${target} PRIVATE ${weft_sanitizer_warnings})
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    target_compile_options(${target} PRIVATE -Wthread-safety)
  endif()
  if(WEFT_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()

# glibc declares the functions that return the address of errno and the thread's id as __attribute__((__const__)): compilers then
# call them once in a function and keep the result, which is another thread's after a wait (docs/decisions/0027-errno-across-waits.md).
# As __pure__ they are asked again after each call. For all who compile weft::weft's headers, by the targets and by pkg-config.
set(weft_errno_definition __const__=__pure__)

# weft_library(<target> <name>): a library that is installed, known to users as weft::<name>. Its public headers are in
# include/, its private ones are included from the repository's root ("runtime/sched/task.hpp").
function(weft_library target name)
  weft_target(${target})
  target_compile_features(${target} PUBLIC cxx_std_23)
  # What a project that has weft in a folder of its own may set for all of its targets, and these do not follow. Nothing in the headers says what
  # is exported, so all is. For a CMAKE_CXX_STANDARD that the compiler does not know CMake gives no flag at all. Files are compiled one by one:
  # system headers that contradict each other, and names that several files have for themselves.
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name}
    CXX_STANDARD 23 CXX_VISIBILITY_PRESET default VISIBILITY_INLINES_HIDDEN OFF UNITY_BUILD OFF
    POSITION_INDEPENDENT_CODE ON VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
  target_include_directories(${target}
    PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>"
    PRIVATE "${PROJECT_SOURCE_DIR}")
  if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    target_compile_options(${target} PUBLIC -fstack-clash-protection)
    # A function of weft's is not replaced by a program's of the same name: calls within a file need no PLT, and may be inlined.
    target_compile_options(${target} PRIVATE -fno-semantic-interposition)
    target_compile_definitions(${target} PUBLIC ${weft_errno_definition})
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Two plug-ins with a weft of their own each would have half of it in common: GCC makes inline variables such that the loader takes one for
    # the whole process, even for libraries that are kept apart (RTLD_LOCAL).
    target_compile_options(${target} PRIVATE -fno-gnu-unique)
  endif()
  if(WEFT_PCH AND WEFT_SANITIZE)
    # Most of what a file of the libraries takes to compile without optimization. Not in the builds that users get, so that an include
    # that is missing shows there.
    target_precompile_headers(${target} PRIVATE <algorithm> <array> <atomic> <chrono> <functional> <memory> <mutex> <optional> <string>
      <string_view> <system_error> <thread> <utility> <vector>)
    weft_allow_precompiled(${target})
  endif()
  add_library(weft::${name} ALIAS ${target})
endfunction()

# weft_standalone(<target>): with WEFT_STANDALONE a program that has the C++ library inside, as Go's and Rust's have theirs; Boost is too
# where Boost_USE_STATIC_LIBS is on. Not for one with another C++ library that is shared, which would bring a second copy, as weft itself where that
# is shared.
function(weft_standalone target)
  if(WEFT_STANDALONE AND NOT BUILD_SHARED_LIBS)
    target_link_options(${target} PRIVATE -static-libstdc++ -static-libgcc -Wl,--gc-sections)
  endif()
endfunction()

# weft_unoptimized(<source>): a large file of the current folder whose speed does not matter, but how long it takes to compile.
function(weft_unoptimized source)
  if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    set_source_files_properties("${source}" PROPERTIES COMPILE_OPTIONS -O0)
  endif()
endfunction()

# weft_allow_precompiled(<target>): what GCC needs for a target that has a precompiled header.
function(weft_allow_precompiled target)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # ccache asks for the first. The others: GCC 12 takes std::string's operator+ for a write past the end and a comparison for a read
    # past it, and in a precompiled header it does not know them for the system's.
    target_compile_options(${target} PRIVATE -fpch-preprocess -Wno-array-bounds -Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread)
  endif()
endfunction()

# weft_precompile(<target>): with a sanitizer, what most programs include is compiled once for all of them: half of the time that they take to compile. Not in
# the builds that users get, so that an include that is missing shows there.
function(weft_precompile target)
  if(NOT WEFT_PCH OR NOT WEFT_SANITIZE)
    return()
  endif()
  if(NOT TARGET weft_precompiled)
    file(CONFIGURE OUTPUT precompiled.cpp CONTENT "// Nothing but the precompiled header.\n")
    add_library(weft_precompiled OBJECT "${CMAKE_CURRENT_BINARY_DIR}/precompiled.cpp")
    weft_target(weft_precompiled)
    target_link_libraries(weft_precompiled PRIVATE weft::weft)
    if(TARGET weft_http)
      target_link_libraries(weft_precompiled PRIVATE weft::http)
      target_precompile_headers(weft_precompiled PRIVATE <weft/http.hpp>)
    endif()
    target_precompile_headers(weft_precompiled PRIVATE <weft/net.hpp> <weft/weft.hpp>
      <algorithm> <iostream> <map> <string> <unordered_map> <vector>)
    weft_allow_precompiled(weft_precompiled)
  endif()
  target_precompile_headers(${target} REUSE_FROM weft_precompiled)
  weft_allow_precompiled(${target})
endfunction()

# weft_drop_other_platforms(<list>): removes the files of runtime/platform that are named after another system.
function(weft_drop_other_platforms list)
  string(TOLOWER "${CMAKE_SYSTEM_NAME}" here)
  set(kept)
  foreach(source IN LISTS ${list})
    if(source MATCHES "runtime/platform/(linux|darwin|freebsd|windows)" AND NOT CMAKE_MATCH_1 STREQUAL here)
      continue()
    endif()
    list(APPEND kept "${source}")
  endforeach()
  set(${list} "${kept}" PARENT_SCOPE)
endfunction()
