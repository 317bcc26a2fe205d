#include "examples/cache_server/snapshot.hpp"

#include <weft/run.hpp>
#include <weft/sim.hpp>
#include <weft/task.hpp>
#include <weft/time.hpp>

#include "tests/support/catch.hpp"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>

#include <unistd.h>

namespace fs = std::filesystem;

namespace {

struct folder {
  fs::path path = fs::temp_directory_path() / ("weft-snapshot-" + std::to_string(getpid()));
  folder() { fs::create_directories(path); }
  ~folder() { fs::remove_all(path); }
};

/// Nothing can be written there as long as this lives.
class elsewhere {
 public:
  explicit elsewhere(folder const& f) : from_(f.path), to_(f.path.string() + ".moved") { fs::rename(from_, to_); }
  elsewhere(elsewhere const&) = delete;
  elsewhere& operator=(elsewhere const&) = delete;
  ~elsewhere() { fs::rename(to_, from_); }

 private:
  fs::path from_, to_;
};

bool save_fails(folder const& f, cache::snapshot_file& file, cache::store& from) {
  elsewhere const moved(f);
  try {
    file.save(from);
    return false;
  } catch (std::runtime_error const&) {
    return true;
  }
}

using content = std::map<std::string, std::pair<std::string, cache::time_ms>>;

content content_of(cache::store& s) {
  content out;
  s.each_part([&](cache::shard& p) {
    p.each([&](cache::entry const& e) { out[std::string(e.key())] = {std::string(e.value()), e.expires}; });
  });
  return out;
}

void fill(cache::store& s) {
  cache::time_ms const later = cache::wall_clock() + 3'600'000;
  for (int i = 0; i < 500; ++i) {
    std::string const key = "key" + std::to_string(i), value(static_cast<std::size_t>(i * 7), static_cast<char>(i));
    std::uint64_t const h = cache::hash_of(key);
    REQUIRE(s.part_of(h).lock()->put(key, h, value, i % 3 == 0 ? later + i : 0, 0));
  }
  for (std::string const& odd : {std::string(), std::string("\0\xff\xc3", 3), std::string("gr\xc3\xbc\xc3\x9f\"\\\n"),
                                 std::string("\xed\xa0\x80")}) {
    std::uint64_t const h = cache::hash_of(odd);
    REQUIRE(s.part_of(h).lock()->put(odd, h, odd, 0, 0));
  }
}

std::set<std::string> names_in(folder const& f) {
  std::set<std::string> names;
  for (auto const& entry : fs::directory_iterator(f.path)) names.insert(entry.path().filename().string());
  return names;
}

std::string read(fs::path const& p) {
  std::ifstream in(p, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("what is saved is loaded again, in both formats") {
  folder const f;
  for (auto const* name : {"a.snapshot", "a.json"}) {
    weft::run([&] {
      cache::store from(0, cache::make_no_eviction), to(0, cache::make_no_eviction);
      fill(from);
      cache::snapshot_file file(f.path / name);
      CHECK(file.load(to).keys == 0);  // none yet
      file.save(from);
      CHECK(file.load(to).keys == 504);
      CHECK(content_of(to) == content_of(from));
      CHECK(names_in(f) == std::set<std::string>{name});
      fs::remove(file.path());
    });
  }
}

TEST_CASE("of a damaged snapshot nothing is taken") {
  folder const f;
  for (auto const* name : {"a.snapshot", "a.json"}) {
    weft::run([&] {
      cache::store from(0, cache::make_no_eviction);
      fill(from);
      cache::snapshot_file file(f.path / name);
      file.save(from);
      std::string const whole = read(file.path());
      auto const refused = [&](std::string const& text) {
        std::ofstream(file.path(), std::ios::binary) << text;
        cache::store to(0, cache::make_no_eviction);
        CHECK_THROWS_AS(file.load(to), std::runtime_error);
        CHECK(to.count().keys == 0);
      };
      for (std::size_t n = 0; n + 2 < whole.size(); n += 1 + whole.size() / 50) refused(whole.substr(0, n));
      if (name == std::string("a.snapshot")) {
        for (std::size_t n = 0; n < whole.size(); n += 1 + whole.size() / 50) {
          std::string other = whole;
          other[n] = static_cast<char>(other[n] ^ 1);
          refused(other);
        }
      }
      refused("[]");
      if (name == std::string("a.snapshot")) return;
      auto const of_one = [](char const* entry) {
        return R"({"format":"weft-cache","version":1,"entries":[)" + std::string(entry) + "]}";
      };
      refused(R"({"format":"something-else","version":1,"entries":[]})");
      refused(R"({"version":1,"entries":[]})");
      refused(of_one(R"({"key":"k","value":"v","expiry":1})"));
      refused(of_one(R"({"key":"k","key_hex":"6b","value":"v"})"));
      refused(of_one(R"({"key":"k","value":"v","value_hex":"77","expires":1})"));
    });
  }
}

TEST_CASE("a snapshot that cannot be written leaves the old one") {
  folder const f;
  weft::run([&] {
    cache::store from(0, cache::make_no_eviction), to(0, cache::make_no_eviction);
    fill(from);
    cache::snapshot_file file(f.path / "a.snapshot");
    file.save(from);
    CHECK(save_fails(f, file, from));
    CHECK_FALSE(file.last_ok());
    CHECK_FALSE(file.saving());
    CHECK(file.load(to).keys == 504);
  });
}

TEST_CASE("changes stay counted until a save has succeeded") {
  folder const f;
  weft::run([&] {
    cache::store from(0, cache::make_no_eviction);
    fill(from);
    cache::snapshot_file file(f.path / "a.snapshot");
    file.changed(3);
    CHECK(save_fails(f, file, from));
    CHECK(file.changes() == 3);
    file.save(from);
    CHECK(file.changes() == 0);
  });
}

TEST_CASE("two saves at once take the changes off once") {
  folder const f;
  weft::run([&] {
    cache::store from(0, cache::make_no_eviction);
    fill(from);
    cache::snapshot_file file(f.path / "a.snapshot");
    for (int i = 0; i < 10; ++i) {
      file.changed(3);
      auto other = weft::spawn([&] { file.save(from); });
      file.save(from);
      other.join();
      REQUIRE(file.changes() == 0);
    }
  });
}

TEST_CASE("while a save goes on the last one's outcome stands, and then its own") {
  folder const f;
  weft::run({.workers = 1}, [&] {
    cache::store from(0, cache::make_no_eviction);
    fill(from);
    cache::snapshot_file file(f.path / "a.snapshot");
    auto const save_and_look = [&](bool before) {
      std::optional in_its_way(from.at(from.parts() - 1).lock());
      auto saving = weft::spawn([&] { file.save(from); });
      while (!file.saving()) weft::yield();
      CHECK(file.last_ok() == before);
      in_its_way.reset();
      saving.join();
      CHECK(file.last_ok());
    };
    save_and_look(true);
    CHECK(save_fails(f, file, from));
    save_and_look(false);
  });
}

TEST_CASE("a save that fails leaves no file, and it is known before") {
  folder const f;
  weft::run([&] {
    cache::store from(0, cache::make_no_eviction);
    fill(from);
    cache::snapshot_file file(f.path / "a.snapshot"), nowhere(f.path / "none" / "a.snapshot"), none("");
    CHECK_NOTHROW(file.check());
    CHECK_NOTHROW(none.check());
    CHECK_THROWS_AS(nowhere.check(), std::runtime_error);
    fs::create_directories(file.path() / "in use");  // cannot be renamed over
    CHECK_THROWS_AS(file.check(), std::runtime_error);
    CHECK_THROWS_AS(file.save(from), std::runtime_error);
    CHECK(names_in(f) == std::set<std::string>{"a.snapshot"});
  });
}

TEST_CASE("what a server was killed over is removed by the next, and nothing else") {
  folder const f;
  for (auto const* name : {"a.snapshot", "a.snapshot.new", "a.snapshot.new.1", "a.snapshot.new.12-3",
                           "a.snapshot.new.txt", "a.snapshot.new.2024-01-31", "a.snapshot.new.007"})
    std::ofstream(f.path / name) << "x";
  weft::run([&] {
    cache::snapshot_file file(f.path / "a.snapshot");
    file.own();
    CHECK(names_in(f) == std::set<std::string>{"a.snapshot", "a.snapshot.lock", "a.snapshot.new", "a.snapshot.new.007",
                                               "a.snapshot.new.2024-01-31", "a.snapshot.new.txt"});
  });
  CHECK_FALSE(fs::exists(f.path / "a.snapshot.lock"));
}

TEST_CASE("a snapshot is not shared: a successor waits some seconds, and as long as it takes for a server that ends") {
  folder const f;
  weft::sim::run({}, [&] {
    std::optional<cache::snapshot_lock> owner(f.path / "a.snapshot");
    auto const began = weft::now();
    CHECK_THROWS_WITH(cache::snapshot_lock(f.path / "a.snapshot"),
                      Catch::Matchers::EndsWith(" is in use by another server, process " + std::to_string(getpid())));
    CHECK(weft::now() - began < std::chrono::seconds(10));
    CHECK_NOTHROW(cache::snapshot_lock(f.path / "other.snapshot"));
    owner->ends();
    auto successor = weft::spawn([&] { cache::snapshot_lock const mine(f.path / "a.snapshot"); });
    weft::sleep_for(std::chrono::minutes(1));
    CHECK_FALSE(successor.done());
    owner.reset();
    CHECK_NOTHROW(successor.join());
  });
  CHECK(names_in(f).empty());
}
