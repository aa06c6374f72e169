// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/region_record.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

namespace heca::node {
namespace {

RegionRecord Sample() {
  RegionRecord record;
  record.name = "vm-1";
  record.phase = RecordPhase::kActive;
  record.pid = 4711;
  record.start_time = 123456789;
  record.domain = "vm-1";
  record.qmp_socket = "/run/heca/qmp/x.sock";
  record.target_fd = 42;
  record.page_size = 4096;
  record.limit = 256ULL << 20;
  record.page_loss = control::PageLoss::kPoison;
  record.transport = TransportChoice::kTcp;
  record.vm_stopped = true;
  record.capture_stop_ns = 250000;
  record.attached_at_s = 1700000000;
  record.blocks = {{"pc.ram", "/dev/shm/a", 0x7f0000000000, 1ULL << 30, 0, 77}, {"dimm1", "/dev/shm/b", 1, 2, 3, 4}};
  record.lease.sponsor = "m1";
  record.lease.address = "127.0.0.1:7300";
  record.lease.lease.key = {LeaseId(7), Epoch(3), {std::byte{0xab}, std::byte{1}}};
  record.lease.claim = {std::byte{0xff}};
  record.lease.lease.slots = 1000;
  record.lease.lease.page_size = kBasePage;
  record.lease.lease.slab_size = Bytes(64ULL << 20);
  record.lease.lease.time_to_live = Millis(60000);
  return record;
}

TEST(RegionRecord, ComesBackAsItWasWritten) {
  const auto back = Decode(Encode(Sample()));
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(Encode(*back), Encode(Sample()));
  EXPECT_EQ(back->lease.lease.key.secret, Sample().lease.lease.key.secret);
  EXPECT_EQ(back->blocks.size(), 2u);
  EXPECT_EQ(back->transport, TransportChoice::kTcp);
}

TEST(RegionRecord, WhatCameWithAVmComesBackToo) {
  RegionRecord record = Sample();
  record.phase = RecordPhase::kArriving;
  record.handed_over = true;
  record.image_slots = 131072;
  record.image = record.lease;
  record.image->sponsor = "its former host";
  record.awaited = true;
  const auto back = Decode(Encode(record));
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(Encode(*back), Encode(record));
  EXPECT_EQ(back->image->sponsor, "its former host");
  EXPECT_TRUE(back->handed_over);
  EXPECT_TRUE(back->awaited);
  std::string text = Encode(record);
  text.erase(text.find("\"awaited\": true,"), std::string("\"awaited\": true,").size());
  EXPECT_TRUE(Decode(text)->awaited) << "where it is not said, nothing is given back";
  record.phase = static_cast<RecordPhase>(7);
  EXPECT_EQ(Decode(Encode(record)).status().code(), ErrorCode::kDataLoss);
}

TEST(RegionRecord, ARecordOfTheFirstReleaseIsUnderstood) {
  std::string text = Encode(Sample());
  for (const std::string key : {"\"handed_over\": false,", "\"image_slots\": 0,", "\"awaited\": false,", "\"transport\": \"tcp\","}) {
    ASSERT_NE(text.find(key), std::string::npos);
    text.erase(text.find(key), key.size());
  }
  const auto back = Decode(text);
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(back->image_slots, 0U);
  EXPECT_EQ(back->transport, TransportChoice::kAuto);
  EXPECT_FALSE(back->image.has_value());
}

TEST(RegionRecord, DamageIsNamed) {
  const std::string text = Encode(Sample());
  EXPECT_EQ(Decode(text.substr(0, text.size() / 2)).status().code(), ErrorCode::kDataLoss);
  EXPECT_EQ(Decode("").status().code(), ErrorCode::kDataLoss);
  std::string carrier = text;
  carrier.replace(carrier.find("\"tcp\""), 5, "\"pigeon\"");
  EXPECT_EQ(Decode(carrier).status().code(), ErrorCode::kDataLoss) << "not taken for auto";
  for (const char* key : {"\"pid\"", "\"target_fd\"", "\"lease\"", "\"secret\"", "\"blocks\""}) {
    std::string damaged = text;
    damaged.replace(damaged.find(key), std::string(key).size(), "\"gone\"");
    EXPECT_EQ(Decode(damaged).status().code(), ErrorCode::kDataLoss) << key;
  }
}

/// In a child with a mount namespace of its own. What attach has got, no later write needs again.
TEST(RegionJournal, AFullTmpfsIsRefusedAtTheFirstRecordAndAtNoOther) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const std::string directory = ::testing::TempDir() + "/heca-full-" + std::to_string(::getpid());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto check = [](bool good, int step) {
      if (!good) ::_exit(step);
    };
    check(::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, 1);
    check(::mkdir(directory.c_str(), 0700) == 0, 2);
    check(::mount("tmpfs", directory.c_str(), "tmpfs", 0, "size=128k") == 0, 3);
    const RegionJournal journal(directory + "/regions");
    check(journal.Prepare().ok() && journal.CheckRoom("vm-1", Bytes(4096)).ok(), 4);
    const Status small = journal.CheckRoom("vm-1", Bytes(1 << 20));
    check(small.code() == ErrorCode::kResourceExhausted, 5);
    check(small.message().find("are free: free space there") != std::string_view::npos, 6);
    RegionRecord record = Sample();
    check(journal.Write(record).ok(), 7);
    const int filler = ::open((directory + "/filler").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (::write(filler, "x", 1) == 1) {
    }
    for (record.limit = 1; record.limit < 50; ++record.limit) check(journal.Write(record).ok(), 8);
    check(journal.Read("vm-1").ok() && journal.Read("vm-1")->limit == 49, 9);
    record.name = "vm-2";
    const Status full = journal.Write(record);
    check(full.code() == ErrorCode::kResourceExhausted, 10);
    check(full.message().find("run-dir") != std::string_view::npos, 11);
    check(journal.Erase("vm-2").ok() && journal.List()->size() == 1, 12);
    ::umount2(directory.c_str(), MNT_DETACH);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "the step that failed";
  ::rmdir(directory.c_str());
}

TEST(RegionJournal, KeepsOneRecordARegion) {
  const std::string directory = ::testing::TempDir() + "/heca-journal-test";
  std::filesystem::remove_all(directory);
  const RegionJournal journal(directory);
  ASSERT_TRUE(journal.Prepare().ok());
  EXPECT_TRUE(journal.List()->empty());
  ASSERT_TRUE(journal.Write(Sample()).ok());
  RegionRecord changed = Sample();
  changed.limit = 5;
  ASSERT_TRUE(journal.Write(changed).ok());
  EXPECT_EQ(journal.List().value(), std::vector<RegionId>{"vm-1"});
  EXPECT_EQ(journal.Read("vm-1")->limit, 5u);
  EXPECT_EQ(journal.Read("other").status().code(), ErrorCode::kNotFound);
  ASSERT_TRUE(journal.Erase("vm-1").ok());
  EXPECT_TRUE(journal.List()->empty());
  EXPECT_TRUE(journal.Erase("vm-1").ok());
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace heca::node
