// See cgroup.hpp.
//
//   G1  /proc/self/cgroup names our group in each hierarchy: "0::/path" (v2), "4:cpu,cpuacct:/path" (v1).
//   G2  /proc/self/mountinfo says where the hierarchy is mounted and which of its groups (root) the mount shows.
//   G3  Our group's folder is the mount point plus the path without that root.
//   G4  Read the limit there and in each folder above, up to the mount point.
#include "runtime/platform/cgroup.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string_view>
#include <vector>

namespace weft::rt {
namespace {

struct hierarchy {
  std::string mount_point;
  std::string path;  // of our group below the mount point: "" or "/a/b"
};

bool has_item(std::string_view list, std::string_view item) {
  while (!list.empty()) {
    std::size_t const comma = list.find(',');
    if (list.substr(0, comma) == item) return true;
    if (comma == list.npos) return false;
    list.remove_prefix(comma + 1);
  }
  return false;
}

// G1. An empty controller asks for v2.
std::optional<std::string> our_group(std::string const& cgroup, std::string_view controller) {
  std::istringstream lines(cgroup);
  for (std::string line; std::getline(lines, line);) {
    std::size_t const first = line.find(':');
    if (first == line.npos) continue;
    std::size_t const second = line.find(':', first + 1);
    if (second == line.npos) continue;
    std::string_view const names(line.data() + first + 1, second - first - 1);
    bool const wanted = controller.empty() ? line.starts_with("0::") : has_item(names, controller);
    if (wanted) return line.substr(second + 1);
  }
  return std::nullopt;
}

// G2, G3. A line: id parent major:minor root mount-point options [fields] - type source super-options
std::optional<hierarchy> find_hierarchy(file_reader const& read, std::string_view controller) {
  auto const cgroup = read("/proc/self/cgroup");
  auto const mounts = read("/proc/self/mountinfo");
  if (!cgroup || !mounts) return std::nullopt;
  auto const group = our_group(*cgroup, controller);
  if (!group) return std::nullopt;

  std::istringstream lines(*mounts);
  for (std::string line; std::getline(lines, line);) {
    std::size_t const dash = line.find(" - ");
    if (dash == line.npos) continue;
    std::istringstream left(line.substr(0, dash));
    std::istringstream right(line.substr(dash + 3));
    std::string skip, root, mount_point, type, source, options;
    left >> skip >> skip >> skip >> root >> mount_point;
    right >> type >> source >> options;
    if (controller.empty() ? type != "cgroup2" : (type != "cgroup" || !has_item(options, controller))) continue;

    std::string path = *group;
    if (root != "/" && (path == root || path.starts_with(root + "/"))) path.erase(0, root.size());
    while (!path.empty() && path.back() == '/') path.pop_back();
    // A path through ".." lies outside what the mount shows (a namespace entered from without): the mount is all
    // that can be read.
    if (path.find("/..") != path.npos) path.clear();
    return hierarchy{mount_point, path};
  }
  return std::nullopt;
}

// G4. The least of what `limit_in(folder)` gives.
template <class T, class LimitIn>
std::optional<T> least_upwards(hierarchy const& in, LimitIn limit_in) {
  std::optional<T> least;
  for (std::string path = in.path;;) {
    if (auto const limit = limit_in(in.mount_point + path)) least = std::min(least.value_or(*limit), *limit);
    if (path.empty()) return least;
    path.erase(path.rfind('/'));
  }
}

std::optional<double> parse_number(std::optional<std::string> const& content) {
  if (!content) return std::nullopt;
  std::istringstream text(*content);
  double number = 0;
  if (!(text >> number)) return std::nullopt;
  return number;
}

}  // namespace

std::optional<double> parse_cpu_max(std::string const& content) {
  std::istringstream text(content);
  double quota = 0;
  double period = 100000;                     // what the kernel uses where none is written
  if (!(text >> quota)) return std::nullopt;  // "max"
  text >> period;
  if (quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;
}

std::optional<double> cgroup_cpu_limit(file_reader const& read) {
  std::optional<double> least;
  if (auto const v2 = find_hierarchy(read, "")) {
    least = least_upwards<double>(*v2, [&](std::string const& folder) -> std::optional<double> {
      auto const content = read(folder + "/cpu.max");
      return content ? parse_cpu_max(*content) : std::nullopt;
    });
  }
  if (auto const v1 = find_hierarchy(read, "cpu")) {
    auto const limit = least_upwards<double>(*v1, [&](std::string const& folder) -> std::optional<double> {
      auto const quota = parse_number(read(folder + "/cpu.cfs_quota_us"));
      auto const period = parse_number(read(folder + "/cpu.cfs_period_us"));
      if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;  // -1: unlimited
      return *quota / *period;
    });
    if (limit) least = std::min(least.value_or(*limit), *limit);
  }
  return least;
}

std::optional<unsigned long> cgroup_thread_limit(file_reader const& read) {
  std::optional<unsigned long> least;
  for (char const* const controller : {"", "pids"}) {
    auto const found = find_hierarchy(read, controller);
    if (!found) continue;
    auto const limit =
        least_upwards<unsigned long>(*found, [&](std::string const& folder) -> std::optional<unsigned long> {
          auto const number = parse_number(read(folder + "/pids.max"));
          return number ? std::optional(static_cast<unsigned long>(*number)) : std::nullopt;
        });
    if (limit) least = std::min(least.value_or(*limit), *limit);
  }
  return least;
}

unsigned workers_for(unsigned available, std::optional<double> limit) noexcept {
  unsigned workers = std::max(available, 1U);
  if (limit && *limit < workers) workers = std::max(1U, static_cast<unsigned>(std::ceil(*limit)));
  return workers;
}

}  // namespace weft::rt
