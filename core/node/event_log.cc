// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/event_log.h"

#include "base/log.h"

namespace heca::node {
namespace {

/// The promise of EventSink::Cancelled: asked at least five times a second.
constexpr Millis kAskEvery{150};

spdlog::level::level_enum LevelOf(control::Severity severity) {
  switch (severity) {
    case control::Severity::kError: return spdlog::level::err;
    case control::Severity::kWarning: return spdlog::level::warn;
    default: return spdlog::level::info;
  }
}

}  // namespace

void EventLog::Add(control::Severity severity, control::EventKind kind, const RegionId& region, std::string text,
                   std::vector<std::pair<std::string, std::string>> values) {
  Log().log(LevelOf(severity), "{}{}{}: {}", region, region.empty() ? "" : ": ", control::ToString(kind), text);
  const std::lock_guard lock(mutex_);
  events_.push_back(control::Event{++last_, std::chrono::system_clock::now(), severity, kind, region,
                                   std::move(text), std::move(values)});
  if (events_.size() > kKept) events_.pop_front();
  changed_.notify_all();
}

Status EventLog::Deliver(const control::EventQuery& query, control::EventSink& sink) {
  std::unique_lock lock(mutex_);
  std::uint64_t seen = query.since > last_ ? 0 : query.since;
  for (;;) {
    while (seen < last_) {
      const std::uint64_t first = events_.front().sequence;
      const control::Event event = events_[seen < first ? 0 : seen + 1 - first];
      lock.unlock();
      if (!sink.OnEvent(event)) return Status();
      seen = event.sequence;
      lock.lock();
    }
    if (!query.follow) return Status();
    if (closed_) return Status(ErrorCode::kAborted, "hecad is stopping");
    changed_.wait_for(lock, kAskEvery);
    lock.unlock();
    if (sink.Cancelled()) return Status(ErrorCode::kAborted, "the reader went away");
    lock.lock();
  }
}

void EventLog::Close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

}  // namespace heca::node
