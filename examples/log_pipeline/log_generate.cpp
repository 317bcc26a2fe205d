// Makes input for log_pipeline: lines of JSON, about 280 bytes each, the same ones for the same seed.
//
//   log_generate --bytes 1G --seed 1 --out /tmp/logs.json
//
// A fifth of the lines are warnings or errors, one in a hundred has escapes in its message, and one in --malformed is not what
// the pipeline takes: cut in the middle, without a level, with an open string, or no JSON at all.

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include "support/command_line.hpp"

namespace {

struct settings {
  std::uint64_t bytes = 1'000'000'000, seed = 1, malformed = 10'000;
  std::string out;
};

/// splitmix64: a sequence that a seed fixes on every machine, which std::uniform_int_distribution's is not.
class sequence {
 public:
  explicit sequence(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  template <std::size_t N>
  std::string_view one_of(std::array<std::string_view, N> const& from) {
    return from[below(N)];
  }

 private:
  std::uint64_t state_;
};

constexpr std::array<std::string_view, 20> levels{"debug", "debug", "debug", "debug", "info", "info", "info",
                                                  "info",  "info",  "info",  "info",  "info", "info", "info",
                                                  "info",  "info",  "warn",  "warn",  "warn", "error"};
constexpr std::array<std::string_view, 8> services{"checkout", "search",   "payments", "catalogue",
                                                   "identity", "delivery", "mail",     "frontend"};
constexpr std::array<std::string_view, 4> methods{"GET", "GET", "POST", "DELETE"};
constexpr std::array<std::string_view, 6> statuses{"200", "200", "201", "404", "429", "503"};
constexpr std::array<std::string_view, 6> messages{
    "request served from the cache after one retry",   "upstream was slow, answer came from the second replica",
    "row updated, three readers told of it",           "token accepted, session goes on for an hour",
    "queue is longer than usual, nothing was dropped", "connection closed by the client before the answer"};
constexpr std::array<std::string_view, 2> escaped{R"(cannot read \"C:\\data\\items\": no such file\n)",
                                                  R"(r\u00e9ponse tardive \ud83d\udc0c from /api\/v1)"};
constexpr std::array<std::string_view, 3> nonsense{"not a log line at all", R"(["level","info","service","search"])",
                                                   "{}"};

void digits(std::string& out, std::uint64_t n, std::size_t width) {
  char text[20];
  auto const end = std::to_chars(text, text + sizeof text, n).ptr;
  auto const have = static_cast<std::size_t>(end - text);
  if (have < width) out.append(width - have, '0');
  out.append(text, have);
}

void hexadecimal(std::string& out, std::uint64_t n) {
  for (int shift = 60; shift >= 0; shift -= 4) out += "0123456789abcdef"[(n >> shift) & 15];
}

/// The line with this number, without its end.
void append_line(std::string& out, sequence& s, std::uint64_t number) {
  std::uint64_t const ms = number / 4 % 86'400'000;  // four lines a millisecond, a day of them
  out += R"({"time":"2026-01-01T)";
  digits(out, ms / 3'600'000, 2), out += ':', digits(out, ms / 60'000 % 60, 2), out += ':';
  digits(out, ms / 1000 % 60, 2), out += '.', digits(out, ms % 1000, 3);
  out += R"(Z","level":")", out += s.one_of(levels);
  out += R"(","service":")", out += s.one_of(services);
  out += R"(","host":"node-)", digits(out, s.below(64), 2);
  out += R"(","message":")", out += s.below(100) == 0 ? s.one_of(escaped) : s.one_of(messages);
  out += R"(","method":")", out += s.one_of(methods);
  out += R"(","path":"/api/v1/items/)", digits(out, s.below(1'000'000), 1);
  out += R"(","status":)", out += s.one_of(statuses);
  out += R"(,"latency_ms":)", digits(out, s.below(900), 1), out += '.', digits(out, s.below(1000), 3);
  out += R"(,"bytes":)", digits(out, s.below(100'000), 1);
  out += R"(,"cached":)", out += s.below(2) != 0 ? "true" : "false";
  out += R"(,"trace":")", hexadecimal(out, s.next()), out += R"("})";
}

void spoil(std::string& out, std::size_t begin, sequence& s) {
  switch (s.below(4)) {
    case 0: out.resize(begin + 1 + s.below(out.size() - begin - 1)); return;  // cut
    case 1: out.replace(out.find("\"level\"", begin), 7, "\"grade\""); return;
    case 2: out.erase(out.find("\",\"host\"", begin), 1); return;  // a string without its end
    default: out.replace(begin, out.npos, s.one_of(nonsense)); return;
  }
}

int generate(settings const& set) {
  bool const to_stdout = set.out.empty() || set.out == "-";
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> const file(to_stdout ? nullptr : std::fopen(set.out.c_str(), "w"),
                                                             [](std::FILE* f) { return std::fclose(f); });
  std::FILE* const out = to_stdout ? stdout : file.get();
  auto const failed = [&] {
    std::cerr << "log_generate: cannot write " << (to_stdout ? "to standard output" : set.out) << ": "
              << std::generic_category().message(errno) << '\n';
    return 1;
  };
  if (out == nullptr) return failed();
  sequence s(set.seed);
  std::string buffer;
  std::uint64_t lines = 0, bad = 0, written = 0;
  while (written < set.bytes) {
    buffer.clear();
    for (; buffer.size() < 1024 * 1024 && written + buffer.size() < set.bytes; ++lines) {
      std::size_t const begin = buffer.size();
      append_line(buffer, s, lines);
      if (set.malformed != 0 && s.below(set.malformed) == 0) spoil(buffer, begin, s), ++bad;
      buffer += '\n';
    }
    if (std::fwrite(buffer.data(), 1, buffer.size(), out) != buffer.size()) return failed();
    written += buffer.size();
  }
  if (std::fflush(out) != 0) return failed();
  std::cerr << lines << " lines, " << written << " bytes, " << bad << " malformed\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  settings set;
  examples::command_line line("log_generate", "Makes lines of JSON for log_pipeline, the same ones for the same seed.");
  line.bytes("--bytes", set.bytes, "how much, to the next whole line: 500K, 100M, 1G", true)
      .number("--seed", set.seed, "another seed, other lines")
      .number("--malformed", set.malformed, "one line in so many is malformed; 0: none")
      .text("--out", set.out, "file to write; else standard output");
  if (auto const status = line.parse(argc, argv)) return *status;
  std::signal(SIGXFSZ, SIG_IGN);  // a file beyond RLIMIT_FSIZE is a write that failed
  return generate(set);
}
