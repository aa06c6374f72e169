// SPDX-License-Identifier: LGPL-2.1-or-later
// A sponsor on tmpfs with a server in front, which tests can stop, start again with or without its memory, and break.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "store/remote_store.h"
#include "store/sponsor.h"
#include "transport/loopback.h"
#include "transport/tcp_dialer.h"
#include "transport/tcp_server.h"

namespace heca::test {

/// On tmpfs, removed at the end.
class ShmDirectory {
 public:
  ShmDirectory() : path_("/dev/shm/heca-test-XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr) ADD_FAILURE() << "no tmpfs at /dev/shm";
  }
  ~ShmDirectory() { Wipe(); }
  ShmDirectory(const ShmDirectory&) = delete;
  ShmDirectory& operator=(const ShmDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  void Wipe() const {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

 private:
  std::string path_;
};

/// Time that only the test moves. Thread-safe.
class ManualClock {
 public:
  [[nodiscard]] Clock::time_point Now() const { return Clock::time_point(Nanos(now_.load())); }
  void Advance(Millis span) { now_ += Nanos(span).count(); }

 private:
  std::atomic<Nanos::rep> now_{Nanos(std::chrono::hours(1)).count()};
};

inline store::SponsorOptions SmallSponsor(const std::string& directory) {
  store::SponsorOptions options;
  options.node = "m1";
  options.boot_id = "boot-of-m1";
  options.directory = directory;
  options.donated = Bytes(16U << 20);
  options.slab_size = Bytes(1U << 20);
  return options;
}

inline control::ReserveRequest Want(std::uint32_t slots, std::string node = "c1", std::string boot = "boot-1") {
  return {std::move(node), std::move(boot), "vm", kBasePage, slots};
}

/// The control plane to a sponsor that may be down: kUnavailable then. Thread-safe.
class SponsorLine final : public control::SponsorApi {
 public:
  void Connect(std::shared_ptr<store::Sponsor> sponsor) {
    const std::lock_guard lock(mutex_);
    sponsor_ = std::move(sponsor);
  }
  Result<control::SponsorInfo> Describe() override {
    return Call([](auto& s) { return s.Describe(); });
  }
  Result<control::Lease> Reserve(const control::ReserveRequest& request) override {
    return Call([&](auto& s) { return s.Reserve(request); });
  }
  Result<control::Lease> Extend(const control::LeaseKey& key, std::uint32_t more) override {
    return Call([&](auto& s) { return s.Extend(key, more); });
  }
  Result<control::Lease> Renew(const control::LeaseKey& key, const std::string& boot) override {
    return Call([&](auto& s) { return s.Renew(key, boot); });
  }
  Result<control::Lease> TakeOver(const control::TakeOverRequest& request) override {
    return Call([&](auto& s) { return s.TakeOver(request); });
  }
  Result<control::DataGrant> OpenData(const control::LeaseKey& key, Role role, std::uint32_t stream,
                                      std::uint32_t count) override {
    return Call([&](auto& s) { return s.OpenData(key, role, stream, count); });
  }
  Status Free(const control::LeaseKey& key) override {
    return Call([&](auto& s) { return s.Free(key); });
  }

 private:
  template <class Verb>
  auto Call(Verb verb) -> decltype(verb(std::declval<store::Sponsor&>())) {
    std::shared_ptr<store::Sponsor> sponsor;
    {
      const std::lock_guard lock(mutex_);
      sponsor = sponsor_;
    }
    if (!sponsor) return Status(ErrorCode::kUnavailable, "the sponsor is down", ErrorScope::kConnection);
    return verb(*sponsor);
  }
  std::mutex mutex_;
  std::shared_ptr<store::Sponsor> sponsor_;
};

enum class Wire { kLoopback, kTcp };

class SponsorRig {
 public:
  explicit SponsorRig(Wire wire, Bytes donated = Bytes(16U << 20)) : wire_(wire), donated_(donated) { Start(); }
  ~SponsorRig() { Stop(); }

  void Start() {
    auto options = SmallSponsor(directory_.path());
    options.donated = donated_;
    options.fence_wait = Millis(200);
    auto sponsor = store::Sponsor::Create(std::move(options));
    ASSERT_TRUE(sponsor.ok()) << sponsor.status().ToString();
    sponsor_ = std::move(sponsor).value();
    Listen();
    line_.Connect(sponsor_);
  }
  /// The process goes away; its tmpfs stays.
  void Stop() {
    line_.Connect(nullptr);
    server_.reset();
    // Calls that are under way hold the sponsor for a moment longer, and with it the lock of the directory.
    const auto deadline = Deadline::After(std::chrono::seconds(5));
    while (sponsor_.use_count() > 1 && !deadline.Passed()) std::this_thread::yield();
    sponsor_.reset();
  }
  void LoseMemory() const { directory_.Wipe(); }
  /// Every data connection breaks; new ones are welcome at once.
  void BreakConnections() {
    server_.reset();
    Listen();
  }
  void Listen() {
    if (wire_ == Wire::kLoopback) {
      auto server = network_.Listen({"m1", 1}, *sponsor_);
      ASSERT_TRUE(server.ok()) << server.status().ToString();
      server_ = std::move(server).value();
    } else {
      transport::TcpServerOptions options;
      options.listen = {"127.0.0.1", 0};
      auto server = transport::TcpServer::Create(options, *sponsor_);
      ASSERT_TRUE(server.ok()) << server.status().ToString();
      server_ = std::move(server).value();
    }
    sponsor_->SetEndpoints({{"smoke-signals", "hill:1"}, {server_->Transport(), server_->endpoint().ToString()}});
  }
  store::RemoteOptions Options() {
    store::RemoteOptions options;
    options.sponsor = "m1";
    options.owner_boot_id = "boot-1";
    options.dialers = {{"loopback", &network_}, {"tcp", &tcp_}};
    return options;
  }
  control::Lease MustReserve(std::uint32_t slots) {
    auto lease = line_.Reserve(Want(slots));
    EXPECT_TRUE(lease.ok()) << lease.status().ToString();
    return lease.ok() ? *lease : control::Lease();
  }

  SponsorLine& line() { return line_; }
  store::Sponsor& sponsor() { return *sponsor_; }
  transport::LoopbackNetwork& network() { return network_; }

 private:
  const Wire wire_;
  const Bytes donated_;
  ShmDirectory directory_;
  transport::LoopbackNetwork network_;
  transport::TcpDialer tcp_;
  SponsorLine line_;
  std::shared_ptr<store::Sponsor> sponsor_;
  std::unique_ptr<transport::Server> server_;
};

}  // namespace heca::test
