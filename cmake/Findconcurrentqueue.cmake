# Finds moodycamel::ConcurrentQueue and gives the target concurrentqueue::concurrentqueue, with which
# #include <concurrentqueue.h> works.
#
# Upstream installs a CMake package whose target has that include folder already. Debian and others ship the header
# alone, in a folder that differs from system to system. So: the package first, then the header.
find_package(concurrentqueue CONFIG QUIET)
if(TARGET concurrentqueue::concurrentqueue)
  set(concurrentqueue_FOUND TRUE)
  return()
endif()

find_path(concurrentqueue_INCLUDE_DIR concurrentqueue.h
  PATH_SUFFIXES concurrentqueue concurrentqueue/moodycamel moodycamel)
mark_as_advanced(concurrentqueue_INCLUDE_DIR)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(concurrentqueue
  REQUIRED_VARS concurrentqueue_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "scripts/setup installs it (Debian: libconcurrentqueue-dev)")

if(concurrentqueue_FOUND)
  add_library(concurrentqueue::concurrentqueue INTERFACE IMPORTED)
  target_include_directories(concurrentqueue::concurrentqueue SYSTEM INTERFACE "${concurrentqueue_INCLUDE_DIR}")
endif()
