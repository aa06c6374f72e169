// SPDX-License-Identifier: LGPL-2.1-or-later
// Tests of a write log run once for each kind; what the kernel does not have is skipped.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "guest/write_log.h"
#include "os/probe_uffd.h"
#include "written_process.h"

namespace heca::guest::testing {

inline const os::UffdAbilities& Abilities() {
  static const os::UffdAbilities abilities = os::ProbeUffd().value();
  return abilities;
}

inline Deadline Soon() { return Deadline::After(std::chrono::seconds(30)); }

inline bool Tells(const std::vector<PageSpan>& spans, std::uint64_t page) {
  return std::any_of(spans.begin(), spans.end(), [page](const PageSpan& span) {
    return page >= span.first.value() && page < span.first.value() + span.pages.value();
  });
}

class EachKind : public ::testing::TestWithParam<WriteLogKind> {
 protected:
  void SetUp() override {
    if (GetParam() == WriteLogKind::kAsync && !Abilities().page_scan) GTEST_SKIP() << "needs Linux 6.7 (PAGEMAP_SCAN)";
  }
};

/// With words for tests that know page by page what is written.
class EachKindByPages : public EachKind {
 protected:
  std::unique_ptr<WriteLog> Start(const WrittenProcess& process, Bytes page_size = kBasePage) {
    auto log = StartWriteLog(process.pid(), nullptr, process.ram(), page_size, Abilities(), GetParam(), Soon());
    EXPECT_TRUE(log.ok()) << log.status().ToString();
    return std::move(log).value();
  }
  static std::vector<PageSpan> Collected(WriteLog& log) {
    auto spans = log.Collect();
    EXPECT_TRUE(spans.ok()) << spans.status().ToString();
    return std::move(spans).value();
  }
  /// Exactly these pages where the log is exact; at least these, and at most their runs of 16, where it is not.
  void ExpectPages(const std::vector<PageSpan>& spans, const std::vector<std::uint64_t>& pages) {
    for (const std::uint64_t page : pages) EXPECT_TRUE(Tells(spans, page)) << "page " << page << " is lost";
    for (const PageSpan& span : spans) {
      for (std::uint64_t page = span.first.value(); page < span.first.value() + span.pages.value(); ++page) {
        EXPECT_TRUE(std::any_of(pages.begin(), pages.end(), [page](std::uint64_t written) {
          return GetParam() == WriteLogKind::kSync ? page / 16 == written / 16 : page == written;
        })) << "page " << page << " was not written";
      }
    }
  }
};

inline const auto kEachKind = ::testing::Values(WriteLogKind::kAsync, WriteLogKind::kSync);
inline std::string KindName(const ::testing::TestParamInfo<WriteLogKind>& info) {
  return std::string(ToString(info.param));
}

}  // namespace heca::guest::testing
