// Every execution of weft's lock-free protocols within the bounds of small programs, and every mutation of each of their steps.
//
// The mutations are no list that somebody keeps: the explorer meets each atomic access, fence and lock of the code and makes all changes to
// it that make sense (explorer.hpp: change). Each must make a program fail, or stand in the protocol's list of those that change nothing
// that may be relied on, with the reason. A list that says too much fails as well. What came out stands in docs/testing.md, and that is
// compared, too: WEFT_MODEL_TABLE=1 prints what ought to stand there.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/model/protocols.hpp"
#include "tests/support/catch.hpp"

namespace {

using namespace model;

std::string told(outcome const& o) {
  std::string text = o.failure + "\n";
  for (std::string const& line : o.trace) text += "  " + line + "\n";
  return text;
}

std::string told(mutation const& m) { return label(m) + ", " + name_of(m.what); }

bool same(mutation const& a, mutation const& b) { return a.what == b.what && label(a) == label(b); }

bool is_meant(harmless const& h, mutation const& m) {
  std::string const pattern = h.label, is = label(m);
  bool const all = pattern.back() == '*';
  if (all ? is.compare(0, pattern.size() - 1, pattern, 0, pattern.size() - 1) != 0 : is != pattern) return false;
  return h.what == change::none || h.what == m.what;
}

/// The runs without a change: all must hold. Their mutations, and what they came to.
struct unchanged {
  std::vector<mutation> mutations;
  std::vector<std::set<std::string>> reached;  // by scenario
};

unchanged run_unchanged(protocol const& p) {
  unchanged all;
  for (scenario const& s : p.scenarios) {
    outcome const o = explore(s);
    std::printf("%s: %s: %llu executions, %llu states\n", p.name, s.name, static_cast<unsigned long long>(o.executions),
                static_cast<unsigned long long>(o.states));
    INFO(s.name << ": " << told(o));
    CHECK(o.failure.empty());
    CHECK((o.complete || !o.failure.empty()));
    all.reached.push_back(o.reached);
    for (mutation const& m : o.mutations) {
      if (m.step == nullptr && std::string(p.code).find(file_of(m)) == std::string::npos) continue;
      if (std::none_of(all.mutations.begin(), all.mutations.end(), [&](mutation const& k) { return same(k, m); }))
        all.mutations.push_back(m);
    }
  }
  return all;
}

/// How the first of the programs fails that does; empty: none does.
std::string failure_of(protocol const& p, unchanged const& base, mutation const& m) {
  for (std::size_t i = 0; i < p.scenarios.size(); ++i) {
    outcome const o = explore(p.scenarios[i], m);
    if (!o.failure.empty()) return o.failure;
    if (o.reached != base.reached[i]) return "it never comes to: " + *base.reached[i].begin();
  }
  return {};
}

/// A row of the table for each step: what was caught, and what changes nothing.
using rows = std::map<std::string, std::pair<std::vector<std::string>, std::vector<std::string>>>;

std::string joined(std::vector<std::string> parts) {
  std::sort(parts.begin(), parts.end());
  std::string text;
  for (std::string const& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

void compare_with_document(protocol const& p, rows const& found) {
  std::ifstream in(WEFT_MODEL_DOCUMENT);
  std::stringstream document;
  document << in.rdbuf();
  for (auto const& [step, changes] : found) {
    std::string const row = "| " + step + " | " + joined(changes.first) + " | " + joined(changes.second) + " |";
    if (std::getenv("WEFT_MODEL_TABLE") != nullptr) std::printf("%s\n", row.c_str());
    INFO("not in docs/testing.md, " << p.name << ": " << row);
    CHECK(document.str().find(row + "\n") != std::string::npos);
  }
}

void examine(protocol const& p) {
  unchanged const base = run_unchanged(p);
  CHECK(!base.mutations.empty());
  std::vector<bool> used(p.harmless_ones.size());
  std::vector<mutation> relaxed_in_vain;
  rows found;
  std::size_t caught = 0;
  for (mutation const& m : base.mutations) {
    std::string const failure = failure_of(p, base, m);
    caught += failure.empty() ? 0 : 1;
    auto& row = found[label(m)];
    (failure.empty() ? row.second : row.first).push_back(name_of(m.what));
    bool listed = false, exactly = false;
    for (std::size_t i = 0; i < p.harmless_ones.size(); ++i) {
      if (!is_meant(p.harmless_ones[i], m)) continue;
      listed = true;
      exactly |= p.harmless_ones[i].what != change::none;
      if (failure.empty()) used[i] = true;
    }
    INFO(told(m) << ": " << failure);
    if (failure.empty()) CHECK(listed);
    else CHECK_FALSE(exactly);
  }
  for (std::size_t i = 0; i < used.size(); ++i) {
    INFO("listed as harmless, but is none: " << p.harmless_ones[i].label);
    CHECK(used[i]);
  }
  std::printf("%s: %zu mutations, %zu caught, the others change nothing that is relied on\n", p.name,
              base.mutations.size(), caught);
  compare_with_document(p, found);
}

}  // namespace

TEST_CASE("each execution of the hand-over holds and each mutation of it is caught") { examine(hand_over); }
TEST_CASE("each execution of a biased lock holds and each mutation of it is caught") { examine(biased_locking); }
TEST_CASE("each execution of a mutex of one thread holds and each mutation of it is caught") {
  examine(biased_holding);
}
TEST_CASE("each execution of a wait holds and each mutation of it is caught") { examine(waiting); }
TEST_CASE("each execution of a task's own context holds and each mutation of it is caught") { examine(own_contexts); }
TEST_CASE("each execution of who registers with a context holds and each mutation of it is caught") {
  examine(registration);
}
TEST_CASE("each execution of the run queue holds and each mutation of it is caught") { examine(running); }
TEST_CASE("each execution of the idle protocol holds and each mutation of it is caught") { examine(idle); }
TEST_CASE("each execution of the walk gate holds and each mutation of it is caught") { examine(walk); }
TEST_CASE("each execution of close against select holds and each mutation of it is caught") { examine(selecting); }

TEST_CASE("each execution of a group's places holds and each mutation of them is caught") { examine(group_places); }

TEST_CASE("the explorer finds what the memory model allows and nothing else") { litmus(); }
