#include "shard.hpp"

#include <algorithm>
#include <bit>
#include <new>

namespace cache {

shard::shard(std::size_t limit, std::unique_ptr<eviction_policy> policy)
    : buckets_(16), limit_(limit), policy_(std::move(policy)), has_policy_(limit != 0) {}

shard::~shard() { remove_all(); }

void shard::clear() {
  remove_all();
  std::vector<entry*>(16).swap(buckets_);  // a table for what was there would be memory, and time for all who walk it
}

void shard::remove_all() noexcept {
  for (entry*& first : buckets_) {
    while (first != nullptr) remove(&first);
  }
}

/// Where the pointer to it stands; a place with null if there is none.
entry** shard::place_of(std::string_view key, std::uint64_t hash, time_ms now) {
  entry** at = &buckets_[hash & (buckets_.size() - 1)];
  while (*at != nullptr && ((*at)->hash != hash || (*at)->key() != key)) at = &(*at)->next;
  if (*at != nullptr && (*at)->expired(now)) {
    ++expired_;
    remove(at);
    while (*at != nullptr) at = &(*at)->next;
  }
  return at;
}

entry* shard::find(std::string_view key, std::uint64_t hash, time_ms now, bool use) {
  entry* const e = *place_of(key, hash, now);
  if (e != nullptr && use && has_policy_) policy_->read(*e);
  return e;
}

bool shard::put(std::string_view key, std::uint64_t hash, std::string_view value, time_ms expires, time_ms now) {
  entry** const at = place_of(key, hash, now);
  entry* const old = *at;
  std::size_t const text = key.size() + value.size();
  // In place if it fits and does not waste much.
  if (old != nullptr && text <= old->room && old->room <= 2 * text + 64) {
    set_expiry(*old, expires);
    old->assign(value);
    return true;
  }
  std::uint64_t const rank = old != nullptr ? old->rank : 0;
  std::size_t const need = entry::bytes_for(text), freed = old != nullptr ? old->bytes() : 0;
  if (limit_ != 0 && bytes_ - freed + need > limit_) {
    if (need > limit_) return false;
    if (old != nullptr && has_policy_) policy_->removed(*old);  // it must not be the victim
    bool const room = make_room(need - std::min(need, freed));
    if (old != nullptr && has_policy_) old->rank = rank, policy_->added(*old);
    if (!room) return false;
  }
  reserve();
  // The value may be a view of the old one's: it goes last.
  entry* const e = entry::make(key, hash, value.size());
  e->expires = expires;
  e->rank = rank;
  e->assign(value);
  if (old != nullptr) remove(*old);
  insert(*e);
  return true;
}

bool shard::has_room(std::string_view key, std::uint64_t hash, std::size_t value_size, std::size_t& more, time_ms now) {
  if (limit_ == 0) return true;
  entry const* const old = *place_of(key, hash, now);
  std::size_t const need = entry::bytes_for(key.size() + value_size), had = old != nullptr ? old->bytes() : 0;
  more += need - std::min(need, had);  // what a smaller value gives back may come too late
  return need <= limit_ && (policy_->evicts() || bytes_ + more <= limit_);
}

bool shard::append(std::string_view key, std::uint64_t hash, std::string_view tail, time_ms now, std::size_t& size) {
  entry* const old = *place_of(key, hash, now);
  if (old == nullptr) {
    size = tail.size();
    return put(key, hash, tail, 0, now);
  }
  size = old->value_size + tail.size();
  if (key.size() + size > old->room) {
    // Twice the size where that is free, so that many small tails copy little; else an eighth more, or just the size.
    std::size_t room = 2 * size;
    std::uint64_t const rank = old->rank;
    if (limit_ != 0 && bytes_ - old->bytes() + entry::bytes_for(key.size() + room) > limit_) {
      if (entry::bytes_for(key.size() + size) > limit_) return false;
      policy_->removed(*old);  // it must not be the victim
      bool there = false;
      for (std::size_t const extra : {size / 8, std::size_t{0}}) {
        if (there) break;
        room = size + extra;
        std::size_t const need = entry::bytes_for(key.size() + room);
        there = need <= limit_ && make_room(need - old->bytes());
      }
      old->rank = rank, policy_->added(*old);
      if (!there) return false;
    }
    reserve();
    entry* const e = entry::make(key, hash, room);
    e->expires = old->expires;
    e->rank = rank;
    e->assign(old->value());
    e->append(tail);
    remove(*old);
    insert(*e);
    return true;
  }
  old->append(tail);
  if (has_policy_) policy_->removed(*old), policy_->added(*old);
  return true;
}

bool shard::erase(std::string_view key, std::uint64_t hash, time_ms now) {
  entry** const at = place_of(key, hash, now);
  if (*at == nullptr) return false;
  remove(at);
  return true;
}

void shard::set_expiry(entry& e, time_ms expires) {
  if (has_policy_) policy_->reserve(), policy_->removed(e);
  mortal_ += static_cast<std::size_t>(expires != 0) - static_cast<std::size_t>(e.expires != 0);
  e.expires = expires;
  if (has_policy_) policy_->added(e);
}

std::size_t shard::sweep(time_ms now) {
  std::size_t removed = 0;
  for (int round = 0; round < 16 && mortal_ != 0; ++round) {
    std::size_t seen = 0, gone = 0;
    for (std::size_t i = 0; i < 64 && i < buckets_.size(); ++i) {
      entry** at = &buckets_[swept_++ & (buckets_.size() - 1)];
      while (*at != nullptr) {
        seen += static_cast<std::size_t>((*at)->expires != 0);
        if (!(*at)->expired(now)) {
          at = &(*at)->next;
          continue;
        }
        ++gone;
        remove(at);
      }
    }
    removed += gone;
    if (gone * 4 <= seen) break;
  }
  expired_ += removed;
  if (buckets_.size() > 16 && size_ < buckets_.size() / 8) {  // SCAN walks over empty buckets, too
    try {
      resize(std::max<std::size_t>(16, std::bit_ceil(2 * size_)));
    } catch (std::bad_alloc const&) {  // tried again by the next call
    }
  }
  return removed;
}

/// Evicts until there is room for so many bytes more.
bool shard::make_room(std::size_t bytes) {
  while (bytes_ + bytes > limit_) {
    entry* const victim = policy_->victim();
    if (victim == nullptr) return false;
    ++evicted_;
    remove(*victim);
  }
  return true;
}

/// For insert(), which cannot fail then: all that asks for memory is done before anything changes.
void shard::reserve() {
  if (size_ >= buckets_.size()) resize(2 * buckets_.size());
  if (has_policy_) policy_->reserve();
}

void shard::insert(entry& e) noexcept {
  entry*& first = buckets_[e.hash & (buckets_.size() - 1)];
  e.next = first;
  first = &e;
  ++size_;
  bytes_ += e.bytes();
  mortal_ += static_cast<std::size_t>(e.expires != 0);
  if (has_policy_) policy_->added(e);
}

void shard::remove(entry** place) {
  entry* const e = *place;
  *place = e->next;
  if (has_policy_) policy_->removed(*e);
  --size_;
  bytes_ -= e->bytes();
  mortal_ -= static_cast<std::size_t>(e->expires != 0);
  entry::destroy(e);
}

void shard::remove(entry& e) {
  entry** at = &buckets_[e.hash & (buckets_.size() - 1)];
  while (*at != &e) at = &(*at)->next;
  remove(at);
}

/// To a power of two.
void shard::resize(std::size_t buckets) {
  std::vector<entry*> other(buckets);
  for (entry* first : buckets_) {
    while (first != nullptr) {
      entry* const e = std::exchange(first, first->next);
      entry*& to = other[e->hash & (other.size() - 1)];
      e->next = to;
      to = e;
    }
  }
  buckets_ = std::move(other);
}

}  // namespace cache
