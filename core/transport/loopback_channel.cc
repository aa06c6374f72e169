// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/loopback_channel.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>

#include "wire/limits.h"

namespace heca::transport {

LoopbackChannel::LoopbackChannel(std::shared_ptr<LoopbackSite> site, std::shared_ptr<LoopbackLink> link,
                                 std::shared_ptr<SlotMemory> memory, Epoch epoch, std::uint16_t credits)
    : site_(std::move(site)),
      link_(std::move(link)),
      memory_(std::move(memory)),
      epoch_(epoch),
      credits_(credits),
      page_size_(memory_->PageSize()),
      max_batch_(wire::MaxBatchFor(static_cast<std::uint32_t>(page_size_.value()))),
      landing_(max_batch_ * page_size_.value()) {}

Status LoopbackChannel::Read(OpTag tag, std::span<const Slot> slots) {
  HECA_RETURN_IF_ERROR(CheckOperation(Operation::kRead, link_->role, slots, max_batch_));
  return Start({Operation::kRead, tag, {slots.begin(), slots.end()}, {}, Attempt::kInvalid});
}

Status LoopbackChannel::Write(OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages,
                              Attempt attempt) {
  HECA_RETURN_IF_ERROR(CheckWrite(link_->role, slots, pages, attempt, page_size_, max_batch_));
  return Start({Operation::kWrite, tag, {slots.begin(), slots.end()}, pages, attempt});
}

Status LoopbackChannel::Release(OpTag tag, std::span<const Slot> slots) {
  HECA_RETURN_IF_ERROR(CheckOperation(Operation::kRelease, link_->role, slots, max_batch_));
  return Start({Operation::kRelease, tag, {slots.begin(), slots.end()}, {}, Attempt::kInvalid});
}

Status LoopbackChannel::Start(Pending pending) {
  if (link_->cut) return Failure();
  if (pending_.size() >= credits_) return {ErrorCode::kBusy, "all credits of the connection are in use"};
  pending_.push_back(std::move(pending));
  link_->Wake();
  return {};
}

Status LoopbackChannel::Failure() {
  memory_.reset();  // the sponsor may wait for this before it admits a successor
  return {ErrorCode::kUnavailable, fmt::format("the connection to {} is cut", site_->endpoint().ToString()),
          ErrorScope::kConnection};
}

Status LoopbackChannel::Poll(ChannelSink& sink) {
  if (memory_ && !memory_->StillOwnedBy(epoch_)) link_->cut = true;
  if (link_->cut) return Failure();
  eventfd_t wakes = 0;
  static_cast<void>(::eventfd_read(link_->wake.get(), &wakes));  // EAGAIN: nothing new
  if (site_->stalled()) return {};

  // Everything before the next release in reverse, then the release.
  std::deque<Pending> started = std::exchange(pending_, {});
  while (!started.empty()) {
    const auto barrier = std::find_if(started.begin(), started.end(),
                                      [](const Pending& p) { return p.operation == Operation::kRelease; });
    const auto last = barrier == started.begin() ? started.begin() : std::prev(barrier);
    const Pending pending = std::move(*last);
    started.erase(last);
    if (!memory_->StillOwnedBy(epoch_)) link_->cut = true;
    if (link_->cut) return Failure();
    Run(pending, sink);
  }
  return {};
}

void LoopbackChannel::Run(const Pending& pending, ChannelSink& sink) {
  switch (pending.operation) {
    case Operation::kRead: return RunRead(pending, sink);
    case Operation::kWrite: return sink.OnWritten(pending.tag, Explain(pending.operation, RunWrite(pending)));
    case Operation::kRelease:
      return sink.OnReleased(pending.tag, Explain(pending.operation, ReleaseAll(*memory_, pending.slots)));
    case Operation::kInvalid: break;
  }
}

void LoopbackChannel::RunRead(const Pending& pending, ChannelSink& sink) {
  std::array<std::span<const std::byte>, wire::kMaxBatch> pages;
  const BatchOutcome outcome = PagesForRead(*memory_, pending.slots, pages);
  if (!outcome.ok()) return sink.OnRead(pending.tag, Explain(pending.operation, outcome), {});
  auto out = landing_.begin();
  for (std::size_t i = 0; i < pending.slots.size(); ++i) out = std::copy(pages[i].begin(), pages[i].end(), out);
  const std::size_t size = pending.slots.size() * page_size_.value();
  link_->read += size;
  sink.OnRead(pending.tag, {}, std::span(landing_).first(size));
}

BatchOutcome LoopbackChannel::RunWrite(const Pending& pending) {
  std::array<std::span<std::byte>, wire::kMaxBatch> landings;
  const BatchOutcome outcome = LandingsForWrite(*memory_, pending.slots, pending.attempt, landings);
  if (!outcome.ok()) return outcome;
  for (std::size_t i = 0; i < pending.slots.size(); ++i) {
    const auto page = pending.pages.subspan(i * page_size_.value(), page_size_.value());
    if (!landings[i].empty()) std::copy(page.begin(), page.end(), landings[i].begin());
  }
  Commit(*memory_, pending.slots, landings);
  link_->written += pending.pages.size();
  return outcome;
}

PollNeed LoopbackChannel::Need() const { return {link_->wake.get(), EPOLLIN, -1}; }

Channel::Traffic LoopbackChannel::Moved() const { return {link_->read, link_->written}; }

std::string LoopbackChannel::Describe() const {
  return fmt::format("loopback {} {}", site_->endpoint().ToString(), RoleName(link_->role));
}

}  // namespace heca::transport
