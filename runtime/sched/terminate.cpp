// See terminate.hpp.

#include "runtime/sched/terminate.hpp"

#include <atomic>
#include <cstdlib>
#include <exception>

#include <weft/error.hpp>

#include "runtime/base/check.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {
namespace {

std::terminate_handler before = nullptr;  // written once, before the handler is installed
std::atomic<bool> told{false};            // the process is ending; relaxed

void say_what_was_cancelled() noexcept {
  task* t = current_task();
  if (t == nullptr)
    return warn(
        "weft::cancelled was thrown out of run() (or a join on a plain thread), and nobody caught it there: it is no "
        "std::exception");
  warn_of(
      *t,
      "ends in std::terminate because of weft::cancelled: it may not leave a destructor, or another function that is "
      "noexcept, in which a wait was cancelled; wait there under weft::uncancellable, or in a weft::defer");
}

[[noreturn]] void report_and_terminate() {
  if (!told.load(std::memory_order_relaxed)) {
    if (std::exception_ptr const now = std::current_exception()) {
      try {
        std::rethrow_exception(now);
      } catch (cancelled const&) {
        say_what_was_cancelled();
      } catch (...) {  // the handler before, or the library's own, knows what to say
      }
    }
  }
  if (before != nullptr) before();
  std::abort();
}

}  // namespace

void install_terminate_report() noexcept {
  static bool const installed = [] {
    before = std::get_terminate();
    std::set_terminate(report_and_terminate);
    return true;
  }();
  (void)installed;
}

void warn_of(task const& t, char const* what, char const* detail) noexcept {
  task_extra const* e = t.extra.load(std::memory_order_acquire);
  char const* const name = e != nullptr ? e->name.c_str() : "";
  bool const named = *name != '\0';
  auto const id = static_cast<unsigned long long>(t.id);
  if (t.place.line() != 0) {
    warn("task %llu%s%.200s%s spawned at %s:%u %s%s", id, named ? " \"" : "", name, named ? "\"" : "",
         t.place.file_name(), static_cast<unsigned>(t.place.line()), what, detail);
  } else {
    warn("task %llu%s%.200s%s %s%s", id, named ? " \"" : "", name, named ? "\"" : "", what, detail);
  }
}

void told_why_it_ends() noexcept { told.store(true, std::memory_order_relaxed); }

}  // namespace weft::rt
