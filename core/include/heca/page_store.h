// SPDX-License-Identifier: LGPL-2.1-or-later
// Where pages live when they are not in the VM's RAM file: the only thing that the fault room and the store room
// know of each other. A remote sponsor is a PageStore; a mirror is a PageStore made of PageStores; the memory store
// of the tests is one too.
//
// Contract, the same for every implementation (tests/support/page_store_conformance.h runs it on each):
//  * Slots are chosen by the caller, the single writer of the store. A slot is written once; writing it again before
//    its release has completed is refused (kAlreadyExists). Reading a slot that was never written, or was released,
//    is an error (kDataLoss), never zeros.
//  * A completed write has reached every replica; only then may the caller drop its own copy.
//  * Operations of one PageReader or PageWriter may complete in any order. A Release completes after every Write
//    that was started before it on the same writer.
//  * A lost connection is not an error of an operation: what was in flight is sent again when the store is back and
//    completes then. Operations fail only for good: kDataLoss (the store came back without its memory, or says the
//    slot is not there), kPermissionDenied (the lease now belongs to a later epoch), kAborted (the store closed).
//  * No call blocks, except Open* and the destructors (bounded by two seconds).
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "heca/status.h"
#include "heca/types.h"

namespace heca {

/// Chosen by the caller, given back with the completion.
using OpTag = Strong<struct OpTagTag, std::uint64_t>;

/// What a file descriptor of ours wants from the caller's poll loop.
struct PollNeed {
  int fd = -1;               ///< -1: nothing to poll now (reconnecting); call Poll again after `tick_ms`
  std::uint32_t events = 0;  ///< EPOLLIN, EPOLLOUT
  int tick_ms = -1;          ///< call Poll at the latest after so many milliseconds; -1: no tick needed
  /// Another value means another file, even if the number of its descriptor is the same.
  std::uint32_t file = 0;
  auto operator<=>(const PollNeed&) const = default;
};

/// Urgent carries faults and nothing else; bulk carries prefetch, write-back and resync. They never share a socket.
enum class Role : std::uint8_t { kInvalid = 0, kUrgent = 1, kBulk = 2 };

/// Receives completed reads, on the thread that called Poll.
class ReadSink {
 public:
  virtual ~ReadSink() = default;
  /// `pages` holds the pages in the order in which they were asked for, contiguous, valid until this call returns.
  /// On error it is empty.
  virtual void OnRead(OpTag tag, const Status& status, std::span<const std::byte> pages) = 0;
};

/// Reads pages. One thread at a time; usually the fault loop.
class PageReader {
 public:
  virtual ~PageReader() = default;
  /// Starts reading `slots` (1 to MaxBatch()). kBusy: no credit now, nothing was started; try again after a Poll.
  virtual Status Start(OpTag tag, std::span<const Slot> slots) = 0;
  /// Moves bytes and delivers what completed; returns the number of completions delivered. Never blocks.
  virtual std::size_t Poll(ReadSink& sink) = 0;
  /// May change after every Start and Poll: read it again before waiting.
  [[nodiscard]] virtual PollNeed Need() const = 0;
  [[nodiscard]] virtual std::size_t MaxBatch() const = 0;
};

/// Receives completed writes and releases, on the thread that called Poll.
class WriteSink {
 public:
  virtual ~WriteSink() = default;
  virtual void OnWritten(OpTag tag, const Status& status) = 0;
  virtual void OnReleased(OpTag tag, const Status& status) = 0;
};

/// Writes and releases pages. One thread at a time; usually the write-back thread.
class PageWriter {
 public:
  virtual ~PageWriter() = default;
  /// All pages that will be written lie in `memory`, which outlives the writer. At most once, before the first Write. A store
  /// that can spare a copy this way does (RDMA registers it); others take no notice.
  virtual void WritesFrom(std::span<const std::byte> /*memory*/) {}
  /// Starts writing one page per slot; `pages` stays valid and unchanged until OnWritten. kBusy as for Start.
  virtual Status Write(OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages) = 0;
  /// Gives slots back. Releasing a slot that is not written is no error (recovery releases what it does not know).
  virtual Status Release(OpTag tag, std::span<const Slot> slots) = 0;
  virtual std::size_t Poll(WriteSink& sink) = 0;
  [[nodiscard]] virtual PollNeed Need() const = 0;
  [[nodiscard]] virtual std::size_t MaxBatch() const = 0;
};

/// How well the store can be reached, for events and for stopping a VM whose pages are out of reach.
enum class StoreHealth : std::uint8_t {
  kInvalid = 0,
  kGood = 1,          ///< everything connected
  kDisconnected = 2,  ///< operations wait for a reconnect
  kLost = 3,          ///< the store is back without its memory, or another owner has the lease: operations fail
};

/// Thread-safe, except that each reader and writer belongs to one thread at a time. Outlives its readers and writers.
class PageStore {
 public:
  virtual ~PageStore() = default;
  [[nodiscard]] virtual Result<std::unique_ptr<PageReader>> OpenReader(Role role) = 0;
  [[nodiscard]] virtual Result<std::unique_ptr<PageWriter>> OpenWriter() = 0;
  /// Size of a page of this store in bytes.
  [[nodiscard]] virtual Bytes PageSize() const = 0;
  /// Slots 1..SlotCount() may be used. Grows by an Extend of the lease, never shrinks while pages are in it.
  [[nodiscard]] virtual std::uint32_t SlotCount() const = 0;
  /// Slots 1..ReadOnlySlots() are lent for a time: they can be read as long as a page lies there, and are neither written
  /// nor released. Fixed for the life of the store.
  [[nodiscard]] virtual std::uint32_t ReadOnlySlots() const { return 0; }
  [[nodiscard]] virtual StoreHealth Health() const = 0;
  /// One line for people: "sponsor m1 (tcp 10.1.0.3:7300, lease 7)".
  [[nodiscard]] virtual std::string Describe() const = 0;
};

}  // namespace heca
