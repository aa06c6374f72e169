// SPDX-License-Identifier: LGPL-2.1-or-later
// What an engine tells its owner.
#pragma once

#include <cstdint>
#include <string_view>

#include "heca/page_store.h"
#include "heca/status.h"
#include "heca/types.h"

namespace heca::fault {

enum class EngineEventKind : std::uint8_t {
  kInvalid = 0,
  kTargetDied = 1,       ///< the process is gone; the engine has stopped by itself
  kPagesLost = 2,        ///< `count` more pages are at no store any more and a thread wants one: stop the VM
  kPagesFound = 3,       ///< no lost page is left: the VM may go on
  kStoreHealth = 4,      ///< `health` changed while faults wait
  kWriteBackFailed = 5,  ///< the store refuses pages: nothing is evicted until RetryLost
  kStoreFull = 6,        ///< no free slot: nothing dirty can be evicted
  kStrayPage = 7,        ///< alarm: a page lay in the file that should be away; repaired
  kNoMemory = 8,         ///< alarm: no local memory for a page; evicting and repeating
  kLimitReached = 9,     ///< faults wait for eviction
  kHome = 10,            ///< BringHome is through: nothing is away, the memory is unregistered
  kKernelError = 11,     ///< an answer outside the kernel's contract
  kEarlyFault = 12,      ///< `thread` has waited for `page` for a second, and the region is not open yet
};
[[nodiscard]] std::string_view ToString(EngineEventKind kind);

struct EngineEvent {
  EngineEventKind kind = EngineEventKind::kInvalid;
  std::uint64_t count = 0;
  StoreHealth health = StoreHealth::kInvalid;
  Status status;
  PageIndex page{};         ///< kEarlyFault; and the next
  std::int32_t thread = 0;  ///< by its own id; 0: not known
};

/// Called on the fault loop: hands the event on and returns. Must not block, and must not call into the engine other
/// than its thread-safe commands. Alarms come at most once a second each.
class EngineObserver {
 public:
  virtual ~EngineObserver() = default;
  virtual void OnEngineEvent(const EngineEvent& event) = 0;
};

}  // namespace heca::fault
