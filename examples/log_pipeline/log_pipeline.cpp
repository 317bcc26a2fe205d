// Sorts a log into files, by service, as fast as the machine reads it: parse, filter by level, route over channels.
//
//   log_generate --bytes 1G --out /tmp/logs.json
//   log_pipeline /tmp/logs.json --out /tmp/sorted --level warn --check
//   tail -f app.json | log_pipeline - --out /tmp/sorted
//
// Each line must be a JSON object with a "level" and a "service"; those at or above --level go to OUT/<service>.log, as they
// are, malformed ones to OUT/rejected.lines. Ctrl-C stops the reading, as SIGTERM and SIGHUP do; what has been read is written to the end,
// and a further one changes nothing. Exit status: 0; 1: failed, or --check found a difference; 2: bad usage; 130: interrupted.
#include "check.hpp"
#include "pipeline.hpp"

#include "output.hpp"
#include "progress.hpp"
#include "support/command_line.hpp"

#include <weft/signal.hpp>
#include <weft/weft.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <unistd.h>

namespace {

struct settings {
  std::string input, out;
  logs::level least = logs::level::warn;
  bool by_line = false, overwrite = false, check = false;
  unsigned workers = 0;
  std::size_t parsers = 0;
};

using further_signals = std::optional<weft::receiver<int>>;

/// The group ends with the pipeline; an exception of any stage comes out here.
void pump(logs::job& j, bool by_line, further_signals& further) {
  weft::task_group stages;
  int const hangup = examples::hangup_signal();
  auto const [until, forget] = weft::with_signals(stages.ctx(), {SIGINT, SIGTERM, hangup});
  further = weft::signals({SIGINT, SIGTERM, hangup});  // second: what came between the two would else end nothing
  by_line ? logs::by_line(j, stages, until) : logs::by_block(j, stages, until);
  auto bar = weft::join_handle<void>();
  if (isatty(STDERR_FILENO) == 1)
    bar = weft::spawn([&j] { logs::draw_progress([&j] { return j.done.bytes.load(); }, j.source.size()); });
  stages.wait();
}

/// Of this process alone: getrusage's figure begins with that of the one that started it.
long peak_megabytes() {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("VmHWM:")) return std::stol(line.substr(6)) / 1024;
  }
  return 0;
}

void print_services(logs::job& j) {
  std::map<std::string, std::uintmax_t> sizes;
  for (auto const& file : j.folder.files()) {
    if (std::filesystem::is_regular_file(file)) sizes[file.filename().string()] = std::filesystem::file_size(file);
  }
  for (auto const& [name, size] : sizes) std::cout << "  " << name << ": " << size << " bytes\n";
}

int run(settings const& set) {
  logs::line_source source(set.input);
  logs::output_folder folder(set.out, set.overwrite, source);
  std::size_t const workers = weft::current_metrics().workers;
  logs::job j(source, folder, set.least, set.parsers != 0 ? set.parsers : workers);
  auto const began = weft::now();
  // with_signals listens to the first signal only; one that comes while what has been read is written, or told of, must not end all.
  // Never destroyed, so that it kills nobody who is about to return 130.
  static auto* const further = new further_signals;
  pump(j, set.by_line, *further);
  double const seconds = std::chrono::duration<double>(weft::now() - began).count();
  logs::check_totals const totals{j.done.lines, j.done.below, j.done.malformed, j.done.kept};
  std::cout << totals.lines << " lines, " << j.done.bytes << " bytes in " << seconds << " s, at most "
            << peak_megabytes() << " MB of memory\n"
            << totals.kept << " kept, " << totals.below << " below the level, " << totals.malformed << " malformed\n";
  print_services(j);
  if (j.done.interrupted) {
    std::cerr << "log_pipeline: interrupted: the files have what had been read\n";
    return 130;
  }
  if (!set.check) return 0;
  further->reset();
  bool const in_order = !set.by_line || j.parsers == 1;
  bool const same =
      weft::blocking([&] { return logs::check(set.input, folder, set.least, totals, in_order, std::cerr); });
  std::cout << "check: " << (same ? "as a plain pass has it\n" : "DIFFERENT\n");
  return same ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  settings set;
  std::vector<std::string> const levels{"trace", "debug", "info", "warn", "error", "fatal"};  // as logs::level has them
  std::string least = "warn";
  examples::command_line line("log_pipeline", "Sorts lines of JSON into files by service.");
  line.text("input", set.input, "file to read, or - for standard input")
      .required("input")
      .text("--out", set.out, "folder for the files; made if it is not there")
      .required("--out")
      .one_of("--level", least, "lines below it are dropped", levels)
      .flag("--by-line", set.by_line, "a message is a line, not a block of lines")
      .number("--parsers", set.parsers, "tasks that parse; 0: one for each worker", 0, 1024)
      .number("--workers", set.workers, "threads that run tasks; 0: one for each CPU", 0, 1024)
      .flag("--overwrite", set.overwrite, "remove the files that an earlier run has made in the folder")
      .flag("--check", set.check, "then read all again, plainly, and compare");
  if (auto const status = line.parse(argc, argv)) return *status;
  std::error_code none;
  if (set.check && (set.input == "-" || std::filesystem::is_other(std::filesystem::status(set.input, none))))
    return line.refuse("--check", "needs a file to read again");
  examples::allow_all_descriptors();  // a file for each service
  std::signal(SIGXFSZ, SIG_IGN);      // a file beyond RLIMIT_FSIZE is a write that failed
  set.least = static_cast<logs::level>(std::ranges::find(levels, least) - levels.begin());
  int const status =
      examples::or_say_why("log_pipeline", [&] { return weft::run({.workers = set.workers}, run, set); });
  return examples::unless_lost("log_pipeline", status);
}
