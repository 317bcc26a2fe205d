#include "upkeep.hpp"

#include <weft/blocking.hpp>
#include <weft/time.hpp>

#include <chrono>
#include <exception>
#include <functional>
#include <iostream>

namespace cache {

namespace {

void sweep(store& keys) {
  weft::ticker tick(std::chrono::milliseconds(100));
  for ([[maybe_unused]] auto _ : tick.channel()) keys.sweep();
}

void save_often(server_state& server, double seconds) {
  weft::ticker tick(std::chrono::duration<double>{seconds});
  for ([[maybe_unused]] auto _ : tick.channel()) {
    if (server.snapshots.changes() == 0) continue;
    try {
      server.snapshots.save(server.keys);
    } catch (std::exception const& e) {
      std::cerr << "cache_server: " << e.what() << '\n';
    }
  }
}

}  // namespace

void load_snapshot(server_state& server) {
  weft::blocking([&] { server.snapshots.check(); });  // what names no file needs no lock beside it
  server.snapshots.own();
  auto const [loaded, no_room] = weft::blocking([&] { return server.snapshots.load(server.keys); });
  if (loaded != 0) std::cout << "loaded " << loaded << " keys from " << server.snapshots.path().string() << '\n';
  if (no_room != 0)
    std::cerr << "cache_server: " << no_room << " of " << loaded + no_room << " keys had no room under --max-bytes\n";
}

void start_upkeep(server_state& server, double save_seconds) {
  server.background->spawn({.name = "sweeper"}, sweep, std::ref(server.keys));
  if (server.snapshots.enabled() && save_seconds > 0)
    server.background->spawn({.name = "saver"}, save_often, std::ref(server), save_seconds);
}

void save_at_end(server_state& server) {
  server.snapshots.ends();
  if (!server.snapshots.enabled() || server.at_end == saving_at_end::nothing) return;
  if (server.at_end == saving_at_end::all || server.snapshots.changes() != 0) server.snapshots.save(server.keys);
}

}  // namespace cache
