#include "runtime/platform/cgroup.hpp"

#include "tests/support/catch.hpp"

#include <map>

using namespace weft::rt;

namespace {

file_reader reader(std::map<std::string, std::string> files) {
  return [files = std::move(files)](std::string const& path) -> std::optional<std::string> {
    auto const found = files.find(path);
    return found != files.end() ? std::optional(found->second) : std::nullopt;
  };
}

std::string const v2_mount = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
std::string const v1_mount =
    "30 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "31 23 0:28 / /sys/fs/cgroup/pids rw shared:9 - cgroup cgroup rw,pids\n";

}  // namespace

TEST_CASE("cpu.max gives processors' worth of time, or nothing if unlimited") {
  CHECK(parse_cpu_max("150000 100000\n") == 1.5);
  CHECK(parse_cpu_max("50000 200000\n") == 0.25);
  CHECK(parse_cpu_max("200000\n") == 2.0);
  CHECK_FALSE(parse_cpu_max("max 100000\n"));
  CHECK_FALSE(parse_cpu_max(""));
  CHECK_FALSE(parse_cpu_max("0 100000"));
  CHECK_FALSE(parse_cpu_max("rubbish"));
}

TEST_CASE("the least quota between the process's group and the root holds") {
  auto const limit = cgroup_cpu_limit(reader({
      {"/proc/self/cgroup", "0::/user.slice/app.scope\n"},
      {"/proc/self/mountinfo", v2_mount},
      {"/sys/fs/cgroup/user.slice/app.scope/cpu.max", "400000 100000\n"},
      {"/sys/fs/cgroup/user.slice/cpu.max", "250000 100000\n"},
      {"/sys/fs/cgroup/cpu.max", "max 100000\n"},
  }));
  REQUIRE(limit);
  CHECK(*limit == 2.5);
}

TEST_CASE("a group whose own quota is unlimited has its parent's") {
  auto const limit = cgroup_cpu_limit(reader({
      {"/proc/self/cgroup", "0::/a/b\n"},
      {"/proc/self/mountinfo", v2_mount},
      {"/sys/fs/cgroup/a/b/cpu.max", "max 100000\n"},
      {"/sys/fs/cgroup/a/cpu.max", "100000 100000\n"},
  }));
  CHECK(limit == 1.0);
}

TEST_CASE("in a container the mount's root is cut off the group's path") {
  auto const limit = cgroup_cpu_limit(reader({
      {"/proc/self/cgroup", "0::/docker/0123/inner\n"},
      {"/proc/self/mountinfo", "29 23 0:26 /docker/0123 /sys/fs/cgroup ro - cgroup2 cgroup rw\n"},
      {"/sys/fs/cgroup/inner/cpu.max", "max 100000\n"},
      {"/sys/fs/cgroup/cpu.max", "300000 100000\n"},
  }));
  CHECK(limit == 3.0);
}

TEST_CASE("a group outside of what is mounted has the mount's quota") {
  auto const limit = cgroup_cpu_limit(reader({
      {"/proc/self/cgroup", "0::/../other\n"},
      {"/proc/self/mountinfo", v2_mount},
      {"/sys/fs/cgroup/cpu.max", "100000 100000\n"},
  }));
  CHECK(limit == 1.0);
}

TEST_CASE("a quota of the first version of control groups counts, and minus one is none") {
  std::map<std::string, std::string> files{
      {"/proc/self/cgroup", "5:pids:/app\n4:cpu,cpuacct:/app\n1:name=systemd:/x\n"},
      {"/proc/self/mountinfo", v1_mount},
      {"/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "350000\n"},
      {"/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "100000\n"},
      {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"},
      {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"},
  };
  CHECK(cgroup_cpu_limit(reader(files)) == 3.5);
  files["/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us"] = "-1\n";
  CHECK_FALSE(cgroup_cpu_limit(reader(files)));
}

TEST_CASE("without control groups there is no limit") {
  CHECK_FALSE(cgroup_cpu_limit(reader({})));
  CHECK_FALSE(cgroup_cpu_limit(reader({{"/proc/self/cgroup", "0::/\n"}})));
  CHECK_FALSE(
      cgroup_cpu_limit(reader({{"/proc/self/cgroup", "\n:\nrubbish"}, {"/proc/self/mountinfo", "a - b\n - \n"}})));
  CHECK_FALSE(cgroup_thread_limit(reader({})));
}

TEST_CASE("the least pids.max holds for threads, in both versions") {
  CHECK(cgroup_thread_limit(reader({
            {"/proc/self/cgroup", "0::/a/b\n"},
            {"/proc/self/mountinfo", v2_mount},
            {"/sys/fs/cgroup/a/b/pids.max", "max\n"},
            {"/sys/fs/cgroup/a/pids.max", "512\n"},
        })) == 512UL);
  CHECK(cgroup_thread_limit(reader({
            {"/proc/self/cgroup", "5:pids:/\n"},
            {"/proc/self/mountinfo", v1_mount},
            {"/sys/fs/cgroup/pids/pids.max", "100\n"},
        })) == 100UL);
}

TEST_CASE("a quota is rounded up to workers, within one and the affinity mask") {
  CHECK(workers_for(8, std::nullopt) == 8);
  CHECK(workers_for(8, 1.5) == 2);
  CHECK(workers_for(8, 2.0) == 2);
  CHECK(workers_for(8, 0.1) == 1);
  CHECK(workers_for(2, 64.0) == 2);
  CHECK(workers_for(0, std::nullopt) == 1);
}
