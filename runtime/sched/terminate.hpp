// The lines that std::terminate is preceded by: an exception has left a task that nobody joins, or a cancellation met a destructor.
//
// A wait in a destructor of the user's, at the end of a block that no exception leaves, is a cancellation point: weft::cancelled may
// not leave the destructor, and the language calls std::terminate without a word. A handler of ours, installed with the first
// runtime, says what happened and hands on to the one that stood before.
#pragma once

namespace weft::rt {

struct task;

/// Once a process. A handler that the program installs later replaces it.
void install_terminate_report() noexcept;
/// Writes `task 7 "name" spawned at file:line `, as far as these are known, and the two texts as one line to standard error.
void warn_of(task const& t, char const* what, char const* detail = "") noexcept;
/// std::terminate is about to be called by weft itself, which has said why.
void told_why_it_ends() noexcept;

}  // namespace weft::rt
