// A program for the debugger to look at: tasks in every state, and a function to stop in when all of them are there.
#include <weft/weft.hpp>

#include <chrono>
#include <cstdlib>
#include <string_view>

using namespace std::chrono_literals;

extern "C" __attribute__((noinline)) void weft_test_all_there() { __asm__ volatile(""); }

namespace {

__attribute__((noinline)) int read_the_mail(weft::receiver<int> from) {
  int sum = 0;
  while (auto letter = from.recv()) sum += *letter;
  return sum;
}

/// Its number lives in a register over the call, and is shown by gdb only if that is found again.
__attribute__((noinline)) int walk_down(int depth, weft::receiver<int> const& from) {
  int const below = depth == 0 ? read_the_mail(from) : walk_down(depth - 1, from);
  __asm__ volatile("" ::"r"(depth));
  return below + depth;
}

__attribute__((noinline)) void look(weft::mutex& m) {
  m.lock();
  m.unlock();
}

void app(bool aborts) {
  auto mail = weft::make_chan<int>();
  weft::mutex m;
  m.lock();
  auto reader = weft::spawn(weft::task_options{.name = "reader"}, [in = mail.rx()] { return walk_down(3, in); });
  auto locker = weft::spawn([&] { look(m); });
  weft::go([&] { weft::select(weft::on_recv(mail), weft::on_timeout(1h)); });
  auto joiner = weft::spawn(weft::task_options{.name = "joiner"}, [&] {
    auto child = weft::spawn([&] { return read_the_mail(mail.rx()); });
    (void)child.join();
  });
  while (weft::current_metrics().parked < 5) weft::yield();
  auto fresh = weft::spawn(weft::task_options{.name = "fresh"}, [] {});
  weft_test_all_there();
  if (aborts) std::abort();
  m.unlock();
  mail.close();
  (void)reader.join();
  locker.join();
  joiner.join();
}

}  // namespace

int main(int argc, char** argv) {
  weft::options one;
  one.workers = 1;
  one.hog_after = one.blocked_after =
      1h;  // on a busy machine another thread would take over, and run what `joiner` is to run itself
  weft::run(one, app, argc > 1 && std::string_view(argv[1]) == "abort");
}
