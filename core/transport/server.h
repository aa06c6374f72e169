// SPDX-License-Identifier: LGPL-2.1-or-later
// The sponsor's end of data connections: who may connect, and what memory they see.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "heca/status.h"
#include "heca/types.h"
#include "transport/channel.h"

namespace heca::transport {

/// Slots that lie together in memory that stays where it is, and a byte for each that is 1 once it is written, and else 0: what a device
/// may be let reach without anybody asking the SlotMemory.
struct Extent {
  Slot first;
  std::span<std::byte> pages;
  std::span<std::byte> marks;
};

/// Such memory, in the order of its slots, and what keeps it where it is: longer than the SlotMemory that told of it, if need be.
struct Reachable {
  std::vector<Extent> extents;
  std::shared_ptr<const void> memory;
};

/// The memory of one lease as data connections see it. Thread-safe: urgent and bulk connections are served by
/// different threads. Spans stay valid as long as the caller holds its shared_ptr to the SlotMemory.
class SlotMemory {
 public:
  virtual ~SlotMemory() = default;
  [[nodiscard]] virtual Bytes PageSize() const = 0;
  /// Slots 1..SlotCount() exist. May grow.
  [[nodiscard]] virtual std::uint32_t SlotCount() const = 0;
  /// kDataLoss if the slot is not written; kInvalidArgument if it does not exist.
  virtual Result<std::span<const std::byte>> ForRead(Slot slot) = 0;
  /// Where the bytes of a write land. kAlreadyExists if the slot is written and `attempt` is kFirst; with kRepeated
  /// a written slot gives an empty span: the caller swallows the bytes and reports success.
  virtual Result<std::span<std::byte>> BeginWrite(Slot slot, Attempt attempt) = 0;
  /// Makes the slot readable: the bytes are all there. A write that is never committed leaves the slot unwritten.
  virtual void CommitWrite(Slot slot) = 0;
  virtual Status Release(Slot slot) = 0;
  /// All of the slots, where they may be pinned and reached without asking; grows as SlotCount does. Empty: they may not.
  [[nodiscard]] virtual Reachable ToReach() const { return {}; }
  /// False once a later epoch owns the lease, the lease was freed, or the owner opens this connection's successor.
  /// The server asks at every message and, for a connection that is idle or in the middle of a message, at least
  /// every 20 ms; on false it closes the connection and drops its pointer to the SlotMemory. The sponsor waits for
  /// that drop before it admits the successor, so nothing may touch a span after it.
  [[nodiscard]] virtual bool StillOwnedBy(Epoch epoch) const = 0;
};

/// Decides about a hello. Thread-safe.
class Admission {
 public:
  virtual ~Admission() = default;
  /// Consumes the token. Each connection gets a SlotMemory of its own (a view of the lease's memory) and drops it
  /// when it ends; it outlives a lease that is freed while a connection still sends from it: that is why it is a
  /// shared_ptr.
  virtual Result<std::shared_ptr<SlotMemory>> Admit(const Hello& hello) = 0;
};

/// One accepted connection, for `hecactl nodes` and metrics.
struct ConnectionInfo {
  std::string peer;
  Role role = Role::kInvalid;
  LeaseId lease;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
};

/// Serves data connections until it is destroyed. Thread-safe.
class Server {
 public:
  virtual ~Server() = default;
  [[nodiscard]] virtual Endpoint endpoint() const = 0;
  [[nodiscard]] virtual std::vector<ConnectionInfo> Connections() const = 0;
  /// "tcp".
  [[nodiscard]] virtual std::string Transport() const = 0;
};

}  // namespace heca::transport
