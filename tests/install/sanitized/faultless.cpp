// Much of weft and no fault: a sanitizer has nothing to say. What tasks share is plain data, ordered by what weft's operations promise
// (docs/memory-model.md) and by nothing else.
#include <weft/net.hpp>
#include <weft/weft.hpp>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

void require(bool holds, char const* what) {
  if (holds) return;
  std::fprintf(stderr, "faultless.cpp: %s\n", what);
  std::exit(1);
}

void channels() {
  auto parcels = weft::make_chan<std::unique_ptr<std::vector<int>>>(4);
  weft::task_group senders;
  for (int s = 0; s < 4; ++s)
    senders.spawn([tx = parcels.tx(), s] {
      for (int i = 0; i < 50; ++i) tx.send(std::make_unique<std::vector<int>>(16, s));
    });
  int told = 0;  // written before the close, read after the receive that reports it
  weft::go([&told, done = parcels.tx(), &senders] {
    senders.wait();
    told = 7;
    done.close();
  });
  int sum = 0;
  while (auto const parcel = parcels.recv()) sum += std::accumulate((*parcel)->begin(), (*parcel)->end(), 0);
  require(sum == 50 * 16 * 6 && told == 7, "channels");
}

void locks() {
  weft::mutex mutex;
  weft::shared_mutex shared;
  weft::condition_variable changed;
  weft::once_flag once;
  int count = 0, made = 0, seen = 0;
  weft::task_group group;
  for (int t = 0; t < 8; ++t)
    group.spawn([&] {
      weft::call_once(once, [&] { made = 1; });
      require(made == 1, "call_once");
      for (int i = 0; i < 100; ++i) {
        std::scoped_lock const hold(mutex);
        count += 1;
        changed.notify_all();
      }
      std::shared_lock const read(shared);
      require(seen >= 0, "shared_mutex");
    });
  group.spawn([&] {
    {
      std::unique_lock hold(mutex);
      changed.wait(hold, [&] { return count == 800; });
    }
    std::scoped_lock const write(shared);
    seen += 1;
  });
  group.wait();
  require(count == 800 && seen == 1, "locks");
}

void joins() {
  std::vector<int> parts(64);
  std::vector<weft::join_handle<int>> handles;
  for (std::size_t i = 0; i < parts.size(); ++i) handles.push_back(weft::spawn([&parts, i] { return parts[i] = 1; }));
  int sum = 0;
  for (auto& h : handles) sum += h.join();
  require(sum == 64 && std::accumulate(parts.begin(), parts.end(), 0) == 64, "joins");
  weft::parallel_for(parts, [](int& part) { part += 1; });
  require(std::accumulate(parts.begin(), parts.end(), 0) == 128, "parallel_for");
}

void selects() {
  auto numbers = weft::make_chan<std::string>();
  auto stop = weft::make_chan<weft::unit>();
  weft::go([tx = numbers.tx(), end = stop.tx()] {
    for (int i = 0; i < 100; ++i) tx.send(std::string(40, 'x'));
    end.close();
  });
  std::size_t letters = 0;
  weft::ticker const tick(1ms);
  for (bool on = true; on;)
    weft::select(weft::on_recv(numbers, [&](std::string& s) { letters += s.size(); }), weft::on_recv(tick, [] {}),
                 weft::on_recv(stop, [&](std::optional<weft::unit>) { on = false; }),
                 weft::on_timeout(10s, [] { std::abort(); }));
  require(letters == 4000, "selects");
}

/// Tasks deep in their stacks, each with memory that only its frames know, parked and then unwound.
int deep(int frames, weft::receiver<weft::unit> const& never) {
  std::vector<int> const own(8, frames);
  char page[512];
  std::fill(std::begin(page), std::end(page), static_cast<char>(frames));
  if (frames == 0) (void)never.recv();
  else (void)deep(frames - 1, never);
  return own[0] + page[frames];
}

void cancellation() {
  auto never = weft::make_chan<weft::unit>();
  weft::task_group group;
  for (int t = 0; t < 200; ++t) group.spawn([rx = never.rx()] { (void)deep(40, rx); });
  group.spawn([] {
    weft::sleep_for(5ms);
    throw std::runtime_error("the first exception");
  });
  try {
    group.wait();
    require(false, "a group that failed");
  } catch (std::runtime_error const&) {
  }
}

void timers() {
  auto ran = weft::make_chan<int>(1);
  int before = 0;
  before = 3;
  (void)weft::after_func(1ms, [&before, tx = ran.tx()] { tx.send(before); });
  require(ran.recv() == 3, "after_func");
  auto [until, cancel] = weft::with_cancel(weft::this_task::context());
  int after = 0;
  (void)weft::after_func(until, [&after, tx = ran.tx()] { tx.send(after); });
  after = 4;
  cancel();
  require(ran.recv() == 4, "after_func of a context");
}

void threads() {
  auto numbers = weft::make_chan<std::unique_ptr<int>>(2);
  std::thread plain([tx = numbers.tx()] {
    for (int i = 0; i < 100; ++i) tx.send(std::make_unique<int>(i));
    tx.close();
  });
  int sum = 0;
  while (auto const n = numbers.recv()) sum += **n;
  weft::blocking([&] { plain.join(); });
  int const slept = weft::blocking([] {
    std::this_thread::sleep_for(2ms);
    return 1;
  });
  require(sum == 4950 && slept == 1, "threads");
}

void sockets() {
  auto listener = weft::net::tcp_listener::bind("127.0.0.1:0").value();
  weft::task_group group;
  group.spawn([&listener] {
    weft::task_group echoes;
    for (int c = 0; c < 4; ++c)
      echoes.spawn([stream = listener.accept().value()]() mutable {
        std::vector<char> bytes(4096);
        while (auto const n = stream.read_some(bytes))
          if (*n == 0 || !stream.write_all(std::span(bytes).first(*n))) break;
      });
    echoes.wait();
  });
  for (int c = 0; c < 4; ++c)
    group.spawn([address = listener.local_endpoint().to_string()] {
      auto stream = weft::net::tcp_stream::connect(address).value();
      std::string const said(4096, 'e');
      std::vector<char> heard(said.size());
      for (int i = 0; i < 8; ++i) {
        require(stream.write_all(said).has_value() && stream.read_exact(heard).has_value(), "sockets");
        require(std::string(heard.begin(), heard.end()) == said, "an echo");
      }
    });
  group.wait();
}

void everything() {
  channels();
  locks();
  joins();
  selects();
  cancellation();
  timers();
  threads();
  sockets();
}

}  // namespace

int main() {
  for (unsigned const workers : {1u, 4u}) weft::run({.workers = workers}, everything);
}
