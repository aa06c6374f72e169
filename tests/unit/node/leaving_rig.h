// SPDX-License-Identifier: LGPL-2.1-or-later
// A VM that leaves, without a QEMU and without a destination: a RAM file, a monitor that the test plays, a peer that takes
// the VM in as the test says, the journal and the lender of images.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "control/peer_server.h"
#include "guest/capture.h"
#include "node/departure_log.h"
#include "node/departures.h"
#include "node/event_log.h"
#include "store/image_sponsor.h"
#include "support/fake_migration.h"
#include "support/fake_sponsor.h"
#include "support/fake_vm.h"
#include "support/ram_on_tmpfs.h"
#include "support/temporary_directory.h"

namespace heca::node {

inline constexpr const char* kIgnoreShared = "x-ignore-shared";
inline constexpr std::uint64_t kRamPages = 16;

inline Deadline Soon() { return Deadline::After(std::chrono::seconds(20)); }

inline void WaitUntil(const std::function<bool()>& done) {
  const Deadline deadline = Soon();
  while (!done()) {
    ASSERT_FALSE(deadline.Passed());
    std::this_thread::sleep_for(Millis(1));
  }
}

/// True if an event of the kind has come.
inline bool Told(EventLog& events, control::EventKind kind) {
  struct Finder final : control::EventSink {
    bool OnEvent(const control::Event& event) override {
      found = found || event.kind == wanted;
      return true;
    }
    [[nodiscard]] bool Cancelled() const override { return false; }
    control::EventKind wanted{};
    bool found = false;
  } finder;
  finder.wanted = kind;
  EXPECT_TRUE(events.Deliver({.since = 0, .follow = false}, finder).ok());
  return finder.found;
}

/// Regions of VMs that are governed: it remembers how their leaves ended.
class NotedRegions final : public LeavingRegions {
 public:
  void EndLeave(const RegionId&, Whereabouts where) override {
    const std::lock_guard lock(mutex_);
    ended_.push_back(where);
  }
  [[nodiscard]] std::vector<Whereabouts> ended() const {
    const std::lock_guard lock(mutex_);
    return ended_;
  }
  /// As of a region that is taken back meanwhile: it is there once it has been asked for so often.
  void ConnectMonitor(std::shared_ptr<guest::Qmp> monitor, int looks) {
    const std::lock_guard lock(mutex_);
    monitor_ = std::move(monitor);
    looks_ = looks;
  }
  [[nodiscard]] std::shared_ptr<guest::Qmp> MonitorOf(const RegionId&) override {
    const std::lock_guard lock(mutex_);
    return looks_-- > 0 ? nullptr : monitor_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Whereabouts> ended_;
  std::shared_ptr<guest::Qmp> monitor_;
  int looks_ = 0;
};

class LeavingRig : public ::testing::Test {
 protected:
  static constexpr const char* kRegion = "vm";

  LeavingRig() {
    auto server = control::PeerServer::Start({.host = "127.0.0.1", .port = 0}, slabs_, &there_);
    EXPECT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(server).value();
    ram_.Fill(3, 'x');
    Restart();
  }

  /// A test may end with a VM that has left: its memory's second name is on the machine's own tmpfs.
  ~LeavingRig() override {
    departures_.reset();
    for (const auto& record : Journal()) {
      for (const auto& block : record.blocks) ::unlink(block.link.c_str());
    }
  }

  /// The next hecad, which knows what the journal says. Destroyed first: what a crash leaves is less than that.
  void Restart() {
    departures_.reset();
    images_ = std::make_unique<store::ImageSponsor>();
    departures_ = std::make_unique<Departures>(journal_.path() + "/departures", *images_, regions_, events_, log_);
    const Status resumed = departures_->Resume();
    ASSERT_TRUE(resumed.ok()) << resumed.ToString();
  }

  /// A VM with a QMP socket; its process is this one.
  [[nodiscard]] DepartureRecord Record() const {
    DepartureRecord record;
    record.region = kRegion;
    record.stage = DepartureStage::kStreaming;
    record.pid = ::getpid();
    record.start_time = guest::IdentifyProcess(::getpid()).value().start_time;
    record.qmp_socket = vm_.Path();
    record.blocks.push_back({ram_.path(), "", ram_.inode(), 0, kRamPages * kBasePage.value()});
    return record;
  }
  [[nodiscard]] std::vector<store::ImageBlock> Image() const {
    std::vector<store::ImageBlock> blocks;
    blocks.push_back(ram_.Block(0, kRamPages));
    return blocks;
  }
  [[nodiscard]] std::string DestinationAddress() const { return "127.0.0.1:" + std::to_string(server_->port()); }
  /// As the destination has done before it matters here.
  void PrepareThere(const control::LeaseKey& key) {
    control::PrepareRequest request;
    request.region = kRegion;
    request.image.key = key;
    ASSERT_TRUE(there_.Prepare(request).ok());
  }

  [[nodiscard]] std::vector<DepartureRecord> Journal() const {
    return DepartureJournal(journal_.path() + "/departures").ReadAll();
  }
  [[nodiscard]] bool IsOffered(LeaseId id) const { return images_->GivenBack(id).ok(); }
  /// A page as the destination reads it.
  [[nodiscard]] Result<char> ReadPage(const control::LeaseKey& key, std::uint32_t page) const {
    HECA_ASSIGN_OR_RETURN(const auto grant, images_->OpenData(key, Role::kUrgent, 0, 1));
    HECA_ASSIGN_OR_RETURN(const auto view, images_->Admit({grant.tokens.front(), key.id, key.epoch, Role::kUrgent}));
    HECA_ASSIGN_OR_RETURN(const auto bytes, view->ForRead(Slot(page + 1)));
    return static_cast<char>(bytes[0]);
  }

  testing::RamOnTmpfs ram_{kRamPages};
  guest::testing::FakeVm vm_;
  testing::TemporaryDirectory journal_;
  testing::FakeSponsor slabs_;
  testing::FakeMigration there_;
  std::unique_ptr<control::PeerServer> server_;
  EventLog events_;
  NotedRegions regions_;
  DepartureLog log_;
  std::unique_ptr<store::ImageSponsor> images_;
  std::unique_ptr<Departures> departures_;  ///< ends before what it uses
};

}  // namespace heca::node
