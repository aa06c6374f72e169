// SPDX-License-Identifier: LGPL-2.1-or-later
#include "channel_harness.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "support/private_network.h"
#include "transport/loopback.h"
#include "transport/rdma/rdma_dialer.h"
#include "transport/rdma/rdma_server.h"
#include "transport/tcp_dialer.h"
#include "transport/tcp_server.h"

namespace heca::transport {
namespace {

class TcpHarness final : public ChannelHarness {
 public:
  Status Start() {
    HECA_RETURN_IF_ERROR(test_support::EnterPrivateNetwork());
    TcpServerOptions options;
    options.listen = {"127.0.0.1", 0};
    HECA_ASSIGN_OR_RETURN(server_, TcpServer::Create(options, admission()));
    return {};
  }
  Dialer& dialer() override { return dialer_; }
  Server& server() override { return *server_; }
  Status CutLink() override { return cut_.Cut("lo"); }
  void HoldAnswers(test_support::FakeSlotMemory& memory) override { memory.Hold(); }
  void LetAnswersGo(test_support::FakeSlotMemory& memory) override { memory.LetGo(); }

 private:
  test_support::LinkCut cut_;  // mended after the server's end
  TcpDialer dialer_;
  std::unique_ptr<TcpServer> server_;
};

class RdmaHarness final : public ChannelHarness {
 public:
  Status Start() {
    const std::string given = std::getenv("HECA_TEST_RDMA");
    const std::size_t comma = given.find(',');
    interface_ = given.substr(comma + 1);
    RdmaServerOptions options;
    options.listen = {given.substr(0, comma), 0};
    HECA_ASSIGN_OR_RETURN(server_, RdmaServer::Create(options, admission()));
    return {};
  }
  Dialer& dialer() override { return dialer_; }
  Server& server() override { return *server_; }
  Status CutLink() override { return cut_.Cut(interface_); }
  void HoldAnswers(test_support::FakeSlotMemory& memory) override { memory.Hold(); }
  void LetAnswersGo(test_support::FakeSlotMemory& memory) override { memory.LetGo(); }

 private:
  std::string interface_;
  test_support::LinkCut cut_;  // mended after the server's end
  RdmaDialer dialer_;
  std::unique_ptr<RdmaServer> server_;
};

class LoopbackHarness final : public ChannelHarness {
 public:
  Status Start() {
    HECA_ASSIGN_OR_RETURN(server_, network_.Listen({"sponsor", 1}, admission()));
    return {};
  }
  Dialer& dialer() override { return network_; }
  Server& server() override { return *server_; }
  Status CutLink() override {
    network_.Cut(server_->endpoint());
    return {};
  }
  void HoldAnswers(test_support::FakeSlotMemory&) override { network_.Stall(server_->endpoint()); }
  void LetAnswersGo(test_support::FakeSlotMemory&) override { network_.Resume(server_->endpoint()); }

 private:
  LoopbackNetwork network_;
  std::unique_ptr<Server> server_;
};

template <class Harness>
Result<std::unique_ptr<ChannelHarness>> Make() {
  auto harness = std::make_unique<Harness>();
  HECA_RETURN_IF_ERROR(harness->Start());
  return std::unique_ptr<ChannelHarness>(std::move(harness));
}

}  // namespace

Result<std::unique_ptr<ChannelHarness>> MakeTcpHarness() { return Make<TcpHarness>(); }
Result<std::unique_ptr<ChannelHarness>> MakeRdmaHarness() { return Make<RdmaHarness>(); }
bool HasRdma() { return std::getenv("HECA_TEST_RDMA") != nullptr; }
Result<std::unique_ptr<ChannelHarness>> MakeLoopbackHarness() { return Make<LoopbackHarness>(); }

void Recorder::OnRead(OpTag tag, const Status& status, std::span<const std::byte> pages) {
  Put(tag, {status, {pages.begin(), pages.end()}});
}
void Recorder::OnWritten(OpTag tag, const Status& status) { Put(tag, {status, {}}); }
void Recorder::OnReleased(OpTag tag, const Status& status) { Put(tag, {status, {}}); }

void Recorder::Put(OpTag tag, Done done) {
  done_.insert_or_assign(tag.value(), std::move(done));
  order_.push_back(tag.value());
}

Status Drive(Channel& channel, ChannelSink& sink, const std::function<bool()>& until, Millis span) {
  const Deadline deadline = Deadline::After(span);
  while (true) {
    HECA_RETURN_IF_ERROR(channel.Poll(sink));
    if (until()) return {};
    if (deadline.Passed()) return {ErrorCode::kDeadlineExceeded, "what the test waits for did not happen"};
    const PollNeed need = channel.Need();
    const auto events = static_cast<short>(((need.events & EPOLLIN) != 0 ? POLLIN : 0) |
                                           ((need.events & EPOLLOUT) != 0 ? POLLOUT : 0));
    pollfd entry{need.fd, events, 0};
    const int left = deadline.LeftMs();
    ::poll(&entry, 1, need.tick_ms < 0 ? left : std::min(left, need.tick_ms));
  }
}

std::vector<std::byte> Pattern(std::span<const Slot> slots, Bytes page_size) {
  std::vector<std::byte> pages(slots.size() * page_size.value());
  std::byte* out = pages.data();
  for (const Slot slot : slots) {
    std::uint64_t state = slot.value();
    for (std::uint64_t i = 0; i < page_size.value(); i += sizeof state, out += sizeof state) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      std::memcpy(out, &state, sizeof state);
    }
  }
  return pages;
}

}  // namespace heca::transport
