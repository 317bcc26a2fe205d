#include "runtime/platform/thread_sample.hpp"

#include <atomic>
#include <chrono>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>

#include <signal.h>

#include "runtime/platform/platform.hpp"
#include "tests/support/catch.hpp"

using namespace std::chrono_literals;
using namespace weft::rt;

namespace {
std::uint64_t no_tag() noexcept { return 17; }
}  // namespace

TEST_CASE("who must not wait samples no thread while another one waits for its sample") {
  std::atomic<int> id{0};
  std::atomic<bool> found_busy{false}, end{false};
  std::thread deaf([&] {
    sigset_t urgent;
    ::sigemptyset(&urgent);
    ::sigaddset(&urgent, SIGURG);
    ::pthread_sigmask(SIG_BLOCK, &urgent, nullptr);
    id = current_thread_id();
    while (!found_busy) std::this_thread::yield();
    ::pthread_sigmask(SIG_UNBLOCK, &urgent, nullptr);
    while (!end) std::this_thread::sleep_for(1ms);
  });
  while (id == 0) std::this_thread::yield();
  thread_sample patient;
  bool answered = false;
  std::thread waits([&] { answered = sample_thread(id, no_tag, patient, 30'000'000'000); });
  thread_sample other;
  while (try_sample_thread(id, no_tag, other, 0).has_value()) std::this_thread::yield();
  found_busy = true;
  waits.join();
  // What the system says of the thread, if it has not answered: whether the signal waits, and is let through.
  std::ostringstream status;
  status << std::ifstream("/proc/self/task/" + std::to_string(id) + "/status").rdbuf();
  end = true;
  deaf.join();
  CAPTURE(status.str());
  CHECK(answered);
  CHECK(patient.tag == 17);
}
