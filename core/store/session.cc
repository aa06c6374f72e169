// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/session.h"

#include <sys/epoll.h>

#include <string>
#include <utility>

#include "base/check.h"

namespace heca::store {
namespace {

// How often a caller that waits for completions looks whether the connector has found the channel stuck.
constexpr int kStallTickMs = 500;

// Answers of the sponsor about the operation itself. Anything else is about the connection, and the operation is
// sent again on the next one: a later epoch, for one, is for the connector to find out and to tell for good.
bool IsFinal(const Status& status) {
  switch (status.code()) {
    case ErrorCode::kOk:
    case ErrorCode::kDataLoss:
    case ErrorCode::kAlreadyExists:
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kFailedPrecondition: return true;
    default: return false;
  }
}

}  // namespace

Session::Session(std::shared_ptr<Link> link, Bytes page_size)
    : link_(std::move(link)),
      page_size_(page_size),
      max_batch_(MaxBatchOf(page_size)),
      table_(kMaxInFlight, max_batch_) {}

Session::~Session() { link_->Close(); }

void Session::SendsFrom(std::span<const std::byte> memory) {
  sends_from_ = memory;
  if (channel_ != nullptr) channel_->WritesFrom(memory);
}

Status Session::StartOp(OpKind kind, OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages) {
  if (slots.empty() || slots.size() > max_batch_) {
    return Status(ErrorCode::kInvalidArgument, std::to_string(slots.size()) + " slots in one operation; 1 to " +
                                                   std::to_string(max_batch_) + " can be");
  }
  if (const Status* end = link_->terminal()) return *end;
  const bool direct = channel_ != nullptr && table_.unsent() == OpTable::kNone;
  const std::uint32_t index = table_.Add(kind, tag, slots, pages);
  if (index == OpTable::kNone) {
    return Status(ErrorCode::kBusy, "all " + std::to_string(kMaxInFlight) + " operations are in flight");
  }
  if (direct) {
    Status status = Send(index);
    if (status.ok()) {
      table_.MarkSent(index);
    } else if (status.code() == ErrorCode::kBusy || IsFinal(status)) {
      table_.Remove(index);
      return status;
    }
    // Otherwise the channel is dead, which the next Poll finds too: the operation waits for the next one.
  }
  link_->Publish(completions_, table_.size());
  return {};
}

Status Session::Send(std::uint32_t index) {
  const OpTable::Op& op = table_.At(index);
  const OpTag tag{index};
  const auto slots = table_.SlotsOf(index);
  switch (op.kind) {
    case OpKind::kRead: return channel_->Read(tag, slots);
    case OpKind::kWrite:
      return channel_->Write(tag, slots, op.pages,
                             op.in_doubt ? transport::Attempt::kRepeated : transport::Attempt::kFirst);
    case OpKind::kRelease: return channel_->Release(tag, slots);
    case OpKind::kFree: break;
  }
  HECA_CHECK(false);
  return {};
}

void Session::SendWaiting() {
  for (std::uint32_t index = table_.unsent(); index != OpTable::kNone; index = table_.unsent()) {
    const Status status = Send(index);
    if (status.code() == ErrorCode::kBusy) return;
    if (!status.ok() && IsFinal(status)) {
      table_.MarkSent(index);
      Finish(table_.At(index).kind, OpTag{index}, status, {});
      continue;
    }
    if (!status.ok()) return Disconnect();
    table_.MarkSent(index);
  }
}

void Session::Advance() {
  if (channel_ == nullptr) {
    if (const Status* end = link_->terminal()) {
      link_->ClearEvent();
      return FailAll(*end);
    }
    channel_ = link_->Take();
    if (channel_ == nullptr) return;
    ++file_;
    if (channel_->MaxBatch() < max_batch_ || channel_->PageSize() != page_size_) return Disconnect();
    if (!sends_from_.empty()) channel_->WritesFrom(sends_from_);
    SendWaiting();
    if (channel_ == nullptr) return;
  }
  const Status status = channel_->Poll(*this);
  if (!status.ok() || broken_ || link_->TakeStalled()) return Disconnect();
  if (const Status* end = link_->terminal()) {
    channel_.reset();
    ++file_;
    return FailAll(*end);
  }
  if (table_.unsent() != OpTable::kNone) SendWaiting();
  link_->Publish(completions_, table_.size());
  link_->Count(bytes_read_, bytes_written_);
}

PollNeed Session::SessionNeed() const {
  if (channel_ == nullptr) return {link_->event_fd(), EPOLLIN, -1, file_};
  PollNeed need = channel_->Need();
  need.file = file_;
  if (table_.size() != 0 && (need.tick_ms < 0 || need.tick_ms > kStallTickMs)) need.tick_ms = kStallTickMs;
  return need;
}

void Session::Disconnect() {
  broken_ = false;
  table_.MarkAllUnsent();
  ++file_;
  link_->Retire(std::move(channel_));
}

void Session::FailAll(const Status& why) {
  table_.MarkAllUnsent();
  while (table_.oldest() != OpTable::kNone) {
    const std::uint32_t index = table_.oldest();
    table_.At(index).sent = true;
    Finish(table_.At(index).kind, OpTag{index}, why, {});
  }
  link_->Publish(completions_, 0);
}

void Session::OnRead(OpTag tag, const Status& status, std::span<const std::byte> pages) {
  Finish(OpKind::kRead, tag, status, pages);
}
void Session::OnWritten(OpTag tag, const Status& status) { Finish(OpKind::kWrite, tag, status, {}); }
void Session::OnReleased(OpTag tag, const Status& status) { Finish(OpKind::kRelease, tag, status, {}); }

void Session::Finish(OpKind kind, OpTag tag, const Status& status, std::span<const std::byte> pages) {
  if (!table_.IsSent(tag.value(), kind)) {
    broken_ = true;
    return;
  }
  const auto index = static_cast<std::uint32_t>(tag.value());
  const OpTable::Op op = table_.At(index);
  if (!status.ok() && !IsFinal(status) && link_->terminal() == nullptr) {
    broken_ = true;
    return;
  }
  if (kind == OpKind::kRead && status.ok() && pages.size() != op.slots * page_size_.value()) {
    broken_ = true;
    return;
  }
  ++completions_;
  bytes_read_ += pages.size();
  if (status.ok()) bytes_written_ += op.pages.size();
  // The slots stay where they are until the entry is reused, which Complete may do at its very end: it starts another.
  const auto slots = table_.SlotsOf(index);
  table_.Remove(index);
  Complete(kind, op.tag, slots, status, pages);
}

}  // namespace heca::store
