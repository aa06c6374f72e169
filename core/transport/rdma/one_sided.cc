// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/rdma/one_sided.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace heca::transport::rdma {
namespace {

constexpr std::uint8_t kMarkFree = 0;
constexpr std::uint8_t kMarkWritten = 1;
/// Behind the pages, behind the marks, and one for each run of either.
constexpr std::size_t kConfirmations = 2;

}  // namespace

Result<std::unique_ptr<OneSided>> OneSided::Make(Link& link, const Registered& pages, const Source& source,
                                                 std::shared_ptr<MarkBook> book, std::size_t page_size,
                                                 std::size_t operations) {
  HECA_ASSIGN_OR_RETURN(auto scratch, Registered::Make(link.domain(), (operations + 3) * kMarksOf, Reach::kLocal));
  return std::unique_ptr<OneSided>(
      new OneSided(link, pages, source, std::move(book), page_size, operations, std::move(scratch)));
}

OneSided::OneSided(Link& link, const Registered& pages, const Source& source, std::shared_ptr<MarkBook> book,
                   std::size_t page_size, std::size_t operations, Registered scratch)
    : link_(link),
      pages_(pages),
      source_(source),
      map_(page_size),
      book_(std::move(book)),
      page_size_(page_size),
      ones_(operations * kMarksOf),
      zeros_(ones_ + kMarksOf),
      sink_(zeros_ + kMarksOf),
      scratch_(std::move(scratch)) {
  std::fill_n(scratch_.bytes().begin() + static_cast<std::ptrdiff_t>(ones_), kMarksOf, std::byte{kMarkWritten});
}

std::size_t OneSided::RequestsFor(std::span<const Slot> slots) const {
  std::size_t runs = 0;
  for (std::size_t at = 0; at < slots.size(); at += map_.RunAt(slots, at).count) ++runs;
  return 2 * runs + kConfirmations;
}

Status OneSided::Begin(OperationInFlight& op, std::size_t index) {
  const bool same = op.operation == Operation::kRelease || op.attempt == Attempt::kRepeated;  // whatever the marks say
  if (same || AllAre(op, op.operation == Operation::kRead ? Mark::kWritten : Mark::kFree)) return Move(op, index);
  Look(op, index);
  return {};
}

Status OneSided::Go(OperationInFlight& op, std::size_t index) {
  if (op.stage == Stage::kLooking) {
    const auto marks = scratch_.bytes().subspan(MarksAt(index), op.count);
    for (std::size_t i = 0; i < op.count; ++i) {
      const auto mark = std::to_integer<std::uint8_t>(marks[i]);
      if (mark != kMarkFree && mark != kMarkWritten) {
        return {ErrorCode::kInternal, fmt::format("the mark of slot {} was read as {}, which none is", op.slots[i].value(), mark),
                ErrorScope::kConnection};
      }
      book_->Set(op.slots[i], mark == kMarkFree ? Mark::kFree : Mark::kWritten);
    }
    return Move(op, index);
  }
  if (op.changes()) Note(op, op.operation == Operation::kWrite ? Mark::kWritten : Mark::kFree);
  op.Finish({});
  return {};
}

void OneSided::Look(OperationInFlight& op, std::size_t index) {
  op.stage = Stage::kLooking;
  const auto slots = op.Slots();
  for (std::size_t at = 0; at < slots.size();) {
    const auto run = map_.RunAt(slots, at);
    at += run.count;
    link_.Read(scratch_.Part(MarksAt(index) + run.begin, run.count), run.marks,
               at == slots.size() ? TagOf(index) : Link::kUnsignalled);
  }
}

Status OneSided::Move(OperationInFlight& op, std::size_t index) {
  op.stage = Stage::kMoving;
  switch (op.operation) {
    case Operation::kRead: Fetch(op, index); return {};
    case Operation::kWrite: Store(op, index); return {};
    case Operation::kRelease: Free(op, index); return {};
    case Operation::kInvalid: break;
  }
  return {ErrorCode::kInternal, "an operation of no kind"};
}

void OneSided::Fetch(OperationInFlight& op, std::size_t index) {
  if (const Slot missing = FirstThatIs(op, Mark::kFree); missing != kNoSlot) {
    op.Finish({ErrorCode::kDataLoss, missing});
    return;
  }
  const auto slots = op.Slots();
  for (std::size_t at = 0; at < slots.size();) {
    const auto run = map_.RunAt(slots, at);
    at += run.count;
    link_.Read(PagesOf(op, run.begin, run.count), run.pages,
               at == slots.size() ? TagOf(index) : Link::kUnsignalled);
  }
}

void OneSided::Store(OperationInFlight& op, std::size_t index) {
  if (op.attempt == Attempt::kFirst) {
    if (const Slot written = FirstThatIs(op, Mark::kWritten); written != kNoSlot) {
      op.Finish({ErrorCode::kAlreadyExists, written});
      return;
    }
  }
  const auto slots = op.Slots();
  Note(op, Mark::kUnknown);  // until it is confirmed
  SlotMap::Run run;
  for (std::size_t at = 0; at < slots.size(); at += run.count) {
    run = map_.RunAt(slots, at);
    link_.Write(PagesOf(op, at, run.count), run.pages, Link::kUnsignalled);
  }
  link_.Read(scratch_.Part(sink_, 1), run.pages, Link::kUnsignalled);
  bool fenced = false;
  for (std::size_t at = 0; at < slots.size(); at += run.count) {
    run = map_.RunAt(slots, at);
    link_.Write(scratch_.Part(ones_, run.count), run.marks, Link::kUnsignalled, !fenced);
    fenced = true;
  }
  link_.Read(scratch_.Part(sink_, 1), run.marks, TagOf(index));
}

void OneSided::Free(OperationInFlight& op, std::size_t index) {
  Note(op, Mark::kUnknown);
  const auto slots = op.Slots();
  SlotMap::Run run;
  for (std::size_t at = 0; at < slots.size(); at += run.count) {
    run = map_.RunAt(slots, at);
    link_.Write(scratch_.Part(zeros_, run.count), run.marks, Link::kUnsignalled);
  }
  link_.Read(scratch_.Part(sink_, 1), run.marks, TagOf(index));
}

ibv_sge OneSided::PagesOf(const OperationInFlight& op, std::size_t begin, std::size_t count) const {
  if (!op.source.empty()) return source_.Part(op.source.subspan(begin * page_size_, count * page_size_));
  return pages_.Part(op.place.offset + begin * page_size_, count * page_size_);
}

bool OneSided::AllAre(const OperationInFlight& op, Mark mark) const {
  const auto slots = op.Slots();
  return std::all_of(slots.begin(), slots.end(), [&](Slot slot) { return book_->Get(slot) == mark; });
}

Slot OneSided::FirstThatIs(const OperationInFlight& op, Mark mark) const {
  const auto slots = op.Slots();
  const auto found = std::find_if(slots.begin(), slots.end(), [&](Slot slot) { return book_->Get(slot) == mark; });
  return found == slots.end() ? kNoSlot : *found;
}

void OneSided::Note(const OperationInFlight& op, Mark mark) {
  for (const Slot slot : op.Slots()) book_->Set(slot, mark);
}

}  // namespace heca::transport::rdma
