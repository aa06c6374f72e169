// SPDX-License-Identifier: LGPL-2.1-or-later
// Faults that tests inject. One enumerator a fault, each named by at least one test. Armed from the environment
// (HECA_FAIL="write-back-before-punch=crash@3,skip-io-guard=on") or by Arm(). When nothing is armed a fail point
// costs one relaxed load.
//   on        the point's own effect, every time          crash     SIGKILL to this process
//   on@N      from the Nth pass on (1 is the first)       crash@N   at the Nth pass
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

#include "heca/status.h"

namespace heca {

enum class FailPoint : std::uint8_t {
  kNone = 0,
  kSkipIoGuard,           ///< write-back does not wait for direct I/O in flight (shows the corruption that it prevents)
  kCrashAfterArm,         ///< pages are write-protected, nothing was sent
  kCrashBeforePunch,      ///< Dropping is journaled, the page is still in the file
  kCrashAfterPunch,       ///< the page is gone from the file, Away is not journaled
  kCrashBeforeCopy,       ///< Coming is journaled, the page is not placed
  kCrashAfterCopy,        ///< the page is placed, Here is not journaled
  kCrashAfterFaultRead,   ///< a fault was read from the userfaultfd and not answered
  kCrashAtOpenData,       ///< sponsor: a lease was granted, and its owner asks for a data connection
  kCrashInPreCopy,        ///< migration: memory is about to be copied ahead
  kCrashWhileStreaming,   ///< migration: QEMU was told to send the device state
  kCrashAtSwitchOver,     ///< migration: the image is open, the destination was not told
  kCrashAtOpen,           ///< migration: the destination is told that it may serve, and has not noted it
  kCrashAfterArrival,     ///< migration: the VM runs at its destination, and its QEMU still leaves RAM out of streams
  kCrashServingImage,     ///< migration: the destination asks for a page
  kFailAfterCapture,      ///< migration: the destination has the memory of the QEMU that waits, and cannot serve it
  kFailAfterTakeOver,     ///< migration: the destination has taken a lease over, and does not answer, or says that it failed
  kSlowLeaveLease,        ///< migration: an arrival that is called off lets go of the VM's lease, and takes its time over it
  kBreakRdma,             ///< transport: an RDMA connection that was set up breaks some thousands of requests later
  kSlowRegistration,      ///< transport: each slab takes a sponsor longer to register than a connection waits to be set up
  kCount,
};

[[nodiscard]] std::string_view ToString(FailPoint point);

namespace fail_points {

inline std::atomic<bool> any_armed{false};

/// Parses and arms a specification as above; an unknown name or action is an error and arms nothing.
Status Arm(std::string_view specification);
/// Arms from HECA_FAIL if it is set.
Status ArmFromEnvironment();
void DisarmAll();
bool PassArmed(FailPoint point);

}  // namespace fail_points

/// True if the point's effect is wanted now; does not return from an armed crash. Thread-safe.
inline bool FailPointHit(FailPoint point) {
  return fail_points::any_armed.load(std::memory_order_relaxed) && fail_points::PassArmed(point);
}

}  // namespace heca
