// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/engine_events.h"
#include "fault/engine_stats.h"

namespace heca::fault {

std::string_view ToString(EngineEventKind kind) {
  switch (kind) {
    case EngineEventKind::kInvalid: return "invalid";
    case EngineEventKind::kTargetDied: return "target-died";
    case EngineEventKind::kPagesLost: return "pages-lost";
    case EngineEventKind::kPagesFound: return "pages-found";
    case EngineEventKind::kStoreHealth: return "store-health";
    case EngineEventKind::kWriteBackFailed: return "write-back-failed";
    case EngineEventKind::kStoreFull: return "store-full";
    case EngineEventKind::kStrayPage: return "stray-page";
    case EngineEventKind::kNoMemory: return "no-memory";
    case EngineEventKind::kLimitReached: return "limit-reached";
    case EngineEventKind::kHome: return "home";
    case EngineEventKind::kKernelError: return "kernel-error";
    case EngineEventKind::kEarlyFault: return "early-fault";
  }
  return "invalid";
}

std::string_view ToString(AnswerSource source) {
  switch (source) {
    case AnswerSource::kStore: return "sponsor";
    case AnswerSource::kWriteBackBuffer: return "write-back-buffer";
    case AnswerSource::kPrefetched: return "prefetched";
    case AnswerSource::kZero: return "zero";
    case AnswerSource::kMinor: return "minor";
    case AnswerSource::kWriteProtect: return "write-protect";
  }
  return "invalid";
}

}  // namespace heca::fault
