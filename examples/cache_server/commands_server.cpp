// The connection and the server: what clients ask before they begin, snapshots, and the end.
#include "commands.hpp"
#include "glob.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

namespace cache {

namespace {

constexpr std::string_view version = "7.0.0";  // of Redis: what clients look at to know which commands there are

void ping(session& s, arguments a) {
  if (a.size() > 2) s.out.error("ERR wrong number of arguments for 'ping' command");
  else if (a.size() == 2) s.out.bulk(a[1]);
  else s.out.simple("PONG");
}
void echo(session& s, arguments a) { s.out.bulk(a[1]); }
void quit(session& s, arguments) {
  s.out.ok();
  s.closing = true;
}
void select_db(session& s, arguments a) {
  auto const n = integer_of(a[1]);
  if (!n) s.out.error(errors::not_integer);
  else if (!std::in_range<std::int32_t>(*n))
    s.out.error("ERR value is out of range, value must between -2147483648 and 2147483647");
  else if (*n != 0) s.out.error("ERR DB index is out of range");
  else s.out.ok();
}
/// The one user there is takes any password.
bool is_user(session& s, std::string_view name) {
  if (name != "default") s.out.error("WRONGPASS invalid username-password pair or user is disabled.");
  return name == "default";
}
void auth(session& s, arguments a) {
  if (a.size() > 3) return s.out.error(errors::syntax);
  if (a.size() == 2)
    return s.out.error(
        "ERR AUTH <password> called without any password configured for the default user. Are you sure your "
        "configuration is correct?");
  if (is_user(s, a[1])) s.out.ok();
}
bool is_client_name(session& s, std::string_view name) {
  bool const good = std::ranges::all_of(name, [](char c) { return c >= '!' && c <= '~'; });
  if (!good) s.out.error("ERR Client names cannot contain spaces, newlines or special characters.");
  return good;
}
void reset(session& s, arguments) {
  s.queued.reset();
  s.watched.clear();
  s.out.version(2);
  s.name.clear();
  s.out.simple("RESET");
}

void hello(session& s, arguments a) {
  int v = s.out.version();
  std::string_view name = s.name;
  std::size_t i = 1;
  if (a.size() > 1) {
    auto const n = integer_of(a[i++]);
    if (!n) return s.out.error("ERR Protocol version is not an integer or out of range");
    if (*n != 2 && *n != 3) return s.out.error("NOPROTO unsupported protocol version");
    v = static_cast<int>(*n);
  }
  for (; i < a.size(); ++i) {
    if (is_word(a[i], "AUTH") && i + 2 < a.size()) {
      if (!is_user(s, a[i + 1])) return;
      i += 2;
    } else if (is_word(a[i], "SETNAME") && i + 1 < a.size()) {
      name = a[++i];
      if (!is_client_name(s, name)) return;
    } else return s.out.error("ERR Syntax error in HELLO option '" + std::string(a[i]) + "'");
  }
  s.out.version(v);
  s.name = std::string(name);
  s.out.map(7);
  s.out.bulk("server"), s.out.bulk("redis");
  s.out.bulk("version"), s.out.bulk(version);
  s.out.bulk("proto"), s.out.integer(v);
  s.out.bulk("id"), s.out.integer(static_cast<std::int64_t>(s.id));
  s.out.bulk("mode"), s.out.bulk("standalone");
  s.out.bulk("role"), s.out.bulk("master");
  s.out.bulk("modules"), s.out.array(0);
}

void set_name(session& s, arguments a) {
  if (!is_client_name(s, a[2])) return;
  s.name = std::string(a[2]);
  s.out.ok();
}
void get_name(session& s, arguments) {
  if (s.name.empty()) s.out.null();
  else s.out.bulk(s.name);
}
void client_id(session& s, arguments) { s.out.integer(static_cast<std::int64_t>(s.id)); }
void client_info(session& s, arguments) {
  s.out.text("id=" + std::to_string(s.id) + " name=" + s.name + " db=0 resp=" + std::to_string(s.out.version()) + "\n");
}
/// Of itself alone.
void list_clients(session& s, arguments a) {
  bool const chosen = a.size() >= 4 && (is_word(a[2], "ID") || (is_word(a[2], "TYPE") && a.size() == 4));
  if (a.size() == 2 || chosen) client_info(s, a);
  else s.out.error(errors::syntax);
}
void on_or_off(session& s, arguments a) {
  if (is_word(a[2], "ON") || is_word(a[2], "OFF")) s.out.ok();
  else s.out.error(errors::syntax);
}
void taken(session& s, arguments) { s.out.ok(); }
constexpr subcommand client_subs[] = {
    {"SETNAME", 3, set_name},   {"GETNAME", 2, get_name},   {"ID", 2, client_id},       {"INFO", 2, client_info},
    {"LIST", -2, list_clients}, {"NO-EVICT", 3, on_or_off}, {"NO-TOUCH", 3, on_or_off}, {"SETINFO", 4, taken},
};
void client(session& s, arguments a) {
  if (auto const* const sub = subcommand_of(s, "CLIENT", client_subs, a)) sub->run(s, a);
}

void count_commands(session& s, arguments) { s.out.integer(static_cast<std::int64_t>(command_count())); }
/// redis-cli asks for the documentation of commands at its start; it can do without.
void no_documents(session& s, arguments) { s.out.map(0); }
void no_details(session& s, arguments a) {
  s.out.array(a.size() - 2);
  for (std::size_t i = 2; i < a.size(); ++i) s.out.null();
}
void list_commands(session& s, arguments a) {
  if (a.size() > 2) return s.out.error(errors::syntax);
  s.out.array(command_count());
  for (auto const group : command_groups()) {
    for (command const& c : group) s.out.bulk(c.name);
  }
}
constexpr subcommand command_subs[] = {
    {"COUNT", 2, count_commands}, {"DOCS", -2, no_documents}, {"INFO", -2, no_details}, {"LIST", -2, list_commands}};
void commands(session& s, arguments a) {
  if (a.size() == 1) return s.out.array(0);
  if (auto const* const sub = subcommand_of(s, "COMMAND", command_subs, a)) sub->run(s, a);
}

void reset_counts(session& s, arguments) {
  for (auto* n : {&s.server.commands, &s.server.connections, &s.server.hits, &s.server.misses}) *n = 0;
  s.out.ok();
}
void get_config(session& s, arguments a) {
  std::pair<std::string_view, std::string> const all[] = {{"save", ""},
                                                          {"appendonly", "no"},
                                                          {"databases", "1"},
                                                          {"port", std::to_string(s.server.port)},
                                                          {"maxmemory", std::to_string(s.server.keys.max_bytes())},
                                                          {"maxmemory-policy", s.server.policy_name},
                                                          {"dbfilename", s.server.snapshots.path().string()}};
  std::vector<std::pair<std::string_view, std::string_view>> found;
  for (auto const& [name, value] : all) {
    for (std::string_view const pattern : a.subspan(2)) {
      bool const plain = pattern.find_first_of("[*?") == pattern.npos;  // then it is answered as it was asked for
      if (plain ? lower(pattern) != name : !matches(lower(pattern), name)) continue;
      found.emplace_back(plain ? pattern : name, value);
      break;
    }
  }
  s.out.map(found.size());
  for (auto const& [name, value] : found) s.out.bulk(name), s.out.bulk(value);
}

constexpr subcommand config_subs[] = {{"GET", -3, get_config}, {"RESETSTAT", 2, reset_counts}};
void config(session& s, arguments a) {
  if (auto const* const sub = subcommand_of(s, "CONFIG", config_subs, a)) sub->run(s, a);
}

void info(session& s, arguments a) {
  s.flush_counts();
  auto const t = s.count();
  std::ostringstream out;
  auto const section = [&](std::string_view name) {
    bool wanted = a.size() == 1;
    for (std::string_view const w : a.subspan(1)) {
      std::string capital(w);
      for (char& c : capital) c = upper(c);
      wanted = wanted || is_word(name, capital) || capital == "ALL" || capital == "EVERYTHING" || capital == "DEFAULT";
    }
    if (wanted) out << (out.tellp() > 0 ? "\r\n# " : "# ") << name << "\r\n";
    return wanted;
  };
  if (section("Server"))
    out << "redis_version:" << version << "\r\nredis_mode:standalone\r\nprocess_id:" << getpid()
        << "\r\ntcp_port:" << s.server.port << "\r\nuptime_in_seconds:" << (s.now - s.server.started) / 1000 << "\r\n";
  if (section("Clients")) out << "connected_clients:" << s.server.connected << "\r\nblocked_clients:0\r\n";
  if (section("Memory"))
    out << "used_memory:" << t.bytes << "\r\nmaxmemory:" << s.server.keys.max_bytes()
        << "\r\nmaxmemory_policy:" << s.server.policy_name << "\r\n";
  if (section("Persistence"))
    out << "loading:0\r\nrdb_changes_since_last_save:" << s.server.snapshots.changes()
        << "\r\nrdb_bgsave_in_progress:" << (s.server.snapshots.saving() || s.server.background_save)
        << "\r\nrdb_last_save_time:" << s.server.snapshots.last_save() / 1000
        << "\r\nrdb_last_bgsave_status:" << (s.server.snapshots.last_ok() ? "ok" : "err") << "\r\n";
  if (section("Stats"))
    out << "total_connections_received:" << s.server.connections << "\r\ntotal_commands_processed:" << s.server.commands
        << "\r\nexpired_keys:" << t.expired << "\r\nevicted_keys:" << t.evicted << "\r\nkeyspace_hits:" << s.server.hits
        << "\r\nkeyspace_misses:" << s.server.misses << "\r\n";
  if (section("Replication")) out << "role:master\r\nconnected_slaves:0\r\n";
  if (section("Keyspace") && t.keys != 0) out << "db0:keys=" << t.keys << ",expires=" << t.mortal << ",avg_ttl=0\r\n";
  s.out.text(out.view());
}

bool can_save(session& s) {
  if (!s.server.snapshots.enabled())
    return s.out.error("ERR no snapshot file: start the server with --snapshot"), false;
  if (s.server.snapshots.saving() || s.server.background_save) return s.out.error(errors::is_saving), false;
  return true;
}

void save(session& s, arguments) {
  if (!can_save(s)) return;
  s.flush_counts();
  try {
    s.server.snapshots.save(s.server.keys);
    s.out.ok();
  } catch (std::exception const& e) {
    s.out.error(std::string("ERR ") + e.what());
  }
}

struct lowered {
  void operator()(std::atomic<bool>* flag) const noexcept { *flag = false; }
};

void bgsave(session& s, arguments a) {
  if (a.size() > 2 || (a.size() == 2 && !is_word(a[1], "SCHEDULE"))) return s.out.error(errors::syntax);
  if (!can_save(s)) return;
  if (s.server.background_save.exchange(true)) return s.out.error(errors::is_saving);
  std::unique_ptr<std::atomic<bool>, lowered> flag(
      &s.server.background_save);  // lowered if there is no task for it, too
  s.flush_counts();
  s.server.background->spawn({.name = "save"}, [&server = s.server, flag = std::move(flag)] {
    try {
      server.snapshots.save(server.keys);
    } catch (std::exception const& e) {
      std::cerr << "cache_server: " << e.what() << '\n';
    }
  });
  s.out.simple("Background saving started");
}

void last_save(session& s, arguments) { s.out.integer(s.server.snapshots.last_save() / 1000); }

struct end_options {
  bool save = false, no_save = false, force = false, now = false, abort = false;
};

bool parse(session& s, arguments a, end_options& o) {
  for (std::string_view const word : a.subspan(1)) {
    if (is_word(word, "SAVE")) o.save = true;
    else if (is_word(word, "NOSAVE")) o.no_save = true;
    else if (is_word(word, "FORCE")) o.force = true;
    else if (is_word(word, "NOW")) o.now = true;  // it waits for no replicas anyway
    else if (is_word(word, "ABORT")) o.abort = true;
    else return s.out.error(errors::syntax), false;
  }
  if ((o.save && o.no_save) || (o.abort && a.size() > 2)) return s.out.error(errors::syntax), false;
  if (o.abort) return s.out.error("ERR No shutdown in progress."), false;
  return true;
}

void shut_down(session& s, arguments a) {
  end_options o;
  if (!parse(s, a, o)) return;
  auto at_end = o.no_save ? saving_at_end::nothing : saving_at_end::changes;
  if (!o.no_save && s.server.snapshots.enabled()) {
    s.flush_counts();
    try {
      s.server.snapshots.save(s.server.keys);
    } catch (std::exception const& e) {
      std::cerr << "cache_server: " << e.what() << '\n';
      if (!o.force) return s.out.error("ERR Errors trying to SHUTDOWN. Check logs.");
      at_end = saving_at_end::nothing;
    }
  }
  s.server.at_end = at_end;
  s.closing = true;
  s.server.stop();
}

constexpr command table[] = {
    {"PING", -1, ping},
    {"ECHO", 2, echo},
    {"QUIT", -1, quit, in_multi::at_once},
    {"SELECT", 2, select_db},
    {"AUTH", -2, auth},
    {"RESET", 1, reset, in_multi::at_once},
    {"HELLO", -1, hello},
    {"CLIENT", -2, client, in_multi::queued, client_subs},
    {"COMMAND", -1, commands, in_multi::queued, command_subs},
    {"CONFIG", -2, config, in_multi::queued, config_subs},
    {"INFO", -1, info},
    {"SAVE", 1, save, in_multi::refused},
    {"BGSAVE", -1, bgsave},
    {"LASTSAVE", 1, last_save},
    {"SHUTDOWN", -1, shut_down, in_multi::refused},
};

}  // namespace

std::span<command const> server_commands() noexcept { return table; }

}  // namespace cache
