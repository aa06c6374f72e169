// SPDX-License-Identifier: LGPL-2.1-or-later
// Operations on slots without anybody at the sponsor: RDMA READ and WRITE of pages and of their marks.
//
//   read      READ marks, unless all are known to be written; READ the pages
//   write     at the first attempt READ marks, unless all are known to be free; WRITE the pages; READ a byte of them; WRITE the
//             marks behind that read (fence); READ a mark
//   release   WRITE the marks; READ one of them
//
// No operation fails by what the book says, which knows nothing of what the lease's other connections do over TCP, or by asking
// the server: a page that counts as lost, or a slot as taken, was seen to be so.
//
// A WRITE that has completed has reached the peer's device, perhaps not its memory, and two WRITEs may be placed in any order
// (iWARP: placed in any order, delivered in order, RFC 5041). A READ of the same connection is answered only when the WRITEs before
// it are placed: so no mark says written before its page is, and a completed write is there whatever happens to the connection
// afterwards. If it breaks off before, a slot is written or it is not, never half. The repeated attempt does not look which, but
// writes once more: the bytes are the same, and until a write is confirmed nobody reads its slot or gives it back. So no mark, and
// nobody who answers for one, can make a page count as stored that is not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "transport/rdma/link.h"
#include "transport/rdma/mark_book.h"
#include "transport/rdma/operation_in_flight.h"
#include "transport/rdma/slot_map.h"

namespace heca::transport::rdma {

/// One thread at a time.
class OneSided {
 public:
  /// `pages` is the channel's ring, `source` what else pages are written from; both and the link outlive it. `book` is of the
  /// lease. Covers nothing before it learns of slots.
  static Result<std::unique_ptr<OneSided>> Make(Link& link, const Registered& pages, const Source& source,
                                                std::shared_ptr<MarkBook> book, std::size_t page_size, std::size_t operations);

  /// More slots; those that were there before are where they were.
  void Learn(SlotMap map) { map_ = std::move(map); }
  [[nodiscard]] bool Covers(std::span<const Slot> slots) const { return map_.HasAll(slots); }
  /// The most requests that such an operation posts.
  [[nodiscard]] std::size_t RequestsFor(std::span<const Slot> slots) const;

  /// Makes the requests of the operation's first step, for the link's next Post; it is number `index` of those in flight, and
  /// looking, moving or finished then.
  Status Begin(OperationInFlight& op, std::size_t index);
  /// That step has completed: the requests of the next one, if there is one.
  Status Go(OperationInFlight& op, std::size_t index);

 private:
  static constexpr std::size_t kMarksOf = wire::kMaxBatch;  // bytes for each operation

  OneSided(Link& link, const Registered& pages, const Source& source, std::shared_ptr<MarkBook> book, std::size_t page_size,
           std::size_t operations, Registered scratch);
  [[nodiscard]] std::size_t MarksAt(std::size_t index) const { return index * kMarksOf; }
  void Look(OperationInFlight& op, std::size_t index);
  Status Move(OperationInFlight& op, std::size_t index);
  void Fetch(OperationInFlight& op, std::size_t index);
  void Store(OperationInFlight& op, std::size_t index);
  void Free(OperationInFlight& op, std::size_t index);
  /// `count` of its pages from page `begin` on, as they lie here.
  [[nodiscard]] ibv_sge PagesOf(const OperationInFlight& op, std::size_t begin, std::size_t count) const;
  [[nodiscard]] bool AllAre(const OperationInFlight& op, Mark mark) const;
  /// The first slot whose mark is that, or none.
  [[nodiscard]] Slot FirstThatIs(const OperationInFlight& op, Mark mark) const;
  void Note(const OperationInFlight& op, Mark mark);

  Link& link_;
  const Registered& pages_;
  const Source& source_;
  SlotMap map_;
  const std::shared_ptr<MarkBook> book_;
  const std::size_t page_size_;
  const std::size_t ones_, zeros_, sink_;  ///< where in scratch_
  const Registered scratch_;
};

/// A completion's tag: of the operation with that index.
[[nodiscard]] constexpr std::uint64_t TagOf(std::size_t index) { return (std::uint64_t{index} << 8) + 1; }
[[nodiscard]] constexpr std::size_t IndexOf(std::uint64_t tag) { return static_cast<std::size_t>(tag >> 8); }
[[nodiscard]] constexpr bool IsOperation(std::uint64_t tag) { return (tag & 0xFF) == 1; }

}  // namespace heca::transport::rdma
