// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/departure_log.h"

#include <algorithm>
#include <utility>

namespace heca::node {

using migration::Phase;

void DepartureLog::Begin(const control::Lease& image, control::MigrationInfo info) {
  info.image = image.key.id;
  info.started = std::chrono::system_clock::now();
  info.reached.memory = Bytes(std::uint64_t{image.slots} * image.page_size.value());
  if (info.progress.phase.empty()) info.progress.phase = ToString(Phase::kPrepare);
  const std::lock_guard lock(mutex_);
  Forget();
  entries_.push_back({.info = std::move(info), .began = now_(), .ended = {}});
}

DepartureLog::Entry* DepartureLog::Find(LeaseId image) {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.info.image == image && !entry.info.over; });
  return found == entries_.end() ? nullptr : &*found;
}

void DepartureLog::Note(LeaseId image, control::Progress progress) {
  const std::lock_guard lock(mutex_);
  if (Entry* const entry = Find(image)) entry->info.progress = std::move(progress);
}

void DepartureLog::Note(LeaseId image, const control::Arrival& arrival) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = Find(image);
  if (entry == nullptr) return;
  control::MigrationSummary& reached = entry->info.reached;
  reached.moved = arrival.moved;
  reached.zero = arrival.zero;
  reached.faults = arrival.faults;
  reached.fault_p50 = arrival.fault_p50;
  reached.fault_p99 = arrival.fault_p99;
  reached.blocked = arrival.blocked;
  reached.blocktime = arrival.blocktime;
}

void DepartureLog::NoteDowntime(LeaseId image, Nanos downtime) {
  const std::lock_guard lock(mutex_);
  if (Entry* const entry = Find(image)) entry->info.reached.downtime = downtime;
}

void DepartureLog::Close(Entry& entry, Phase last) {
  entry.info.over = true;
  entry.info.ok = last == Phase::kComplete;
  entry.info.progress.phase = ToString(last);
  if (entry.info.ok) entry.info.progress.done = entry.info.progress.total = entry.info.reached.memory.value();
  entry.ended = now_();
}

void DepartureLog::End(LeaseId image, const control::MigrationSummary& summary) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = Find(image);
  if (entry == nullptr) return;
  const control::MigrationMode mode = entry->info.reached.mode;
  entry->info.reached = summary;
  entry->info.reached.mode = mode;
  Close(*entry, Phase::kComplete);
}

void DepartureLog::End(LeaseId image, Phase last, const Status& why) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = Find(image);
  if (entry == nullptr) return;
  entry->info.trouble = why.message();
  Close(*entry, last);
}

void DepartureLog::Unwatch(LeaseId image) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = Find(image);
  if (entry == nullptr) return;
  entry->watched = false;
  EndUnwatched(*entry);
}

void DepartureLog::GivenBack(LeaseId image) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = Find(image);
  if (entry == nullptr) return;
  entry->given_back = true;
  EndUnwatched(*entry);
}

void DepartureLog::EndUnwatched(Entry& entry) {
  if (entry.given_back && !entry.watched) Close(entry, Phase::kComplete);
}

void DepartureLog::Forget() {
  const auto now = now_();
  auto over = static_cast<std::size_t>(
      std::count_if(entries_.begin(), entries_.end(), [](const Entry& entry) { return entry.info.over; }));
  entries_.remove_if([&](const Entry& entry) {
    const bool gone = entry.ended && (now - *entry.ended > kKept || over > kMostOver);
    if (gone) --over;
    return gone;
  });
}

std::vector<control::MigrationInfo> DepartureLog::List() {
  const std::lock_guard lock(mutex_);
  Forget();
  std::vector<control::MigrationInfo> all;
  for (const Entry& entry : entries_) {
    all.push_back(entry.info);
    // The summary's own, which is from the call on, is kept where there is one.
    Millis& total = all.back().reached.total;
    if (total.count() == 0) total = std::chrono::duration_cast<Millis>(entry.ended.value_or(now_()) - entry.began);
  }
  return all;
}

}  // namespace heca::node
