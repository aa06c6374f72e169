// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/size.h"

#include <gtest/gtest.h>

namespace heca {
namespace {

constexpr std::uint64_t kMiB = 1ULL << 20;
constexpr std::uint64_t kGiB = 1ULL << 30;

TEST(Size, ReadsWhatPeopleWrite) {
  const std::pair<const char*, std::uint64_t> cases[] = {
      {"0", 0},
      {"4096", 4096},
      {"4096B", 4096},
      {"2GiB", 2 * kGiB},
      {"64MiB", 64 * kMiB},
      {"512M", 512 * kMiB},
      {"1k", 1024},
      {"1kib", 1024},
      {"1T", 1024 * kGiB},
      {"1.5GiB", 1536 * kMiB},
      {"0.5K", 512},
      {"2 GiB", 2 * kGiB},
      {"18446744073709551615", UINT64_MAX},
      {"16777215TiB", 16777215ULL * 1024 * kGiB},
  };
  for (const auto& [text, bytes] : cases) {
    const Result<Bytes> size = ParseSize(text);
    ASSERT_TRUE(size.ok()) << text << ": " << size.status().ToString();
    EXPECT_EQ(size->value(), bytes) << text;
  }
}

TEST(Size, RefusesTheRestAndSaysWhatToWrite) {
  const std::string forms = ": write it like 2GiB, 512MiB, 64M or 4096 (bytes)";
  const std::pair<const char*, const char*> cases[] = {
      {"", ""},
      {"GiB", ""},
      {"-1", ""},
      {"1.", ""},
      {".5G", ""},
      {"1.2.3G", ""},
      {"2XB", " (unknown unit 'XB')"},
      {"2 parsecs", " (unknown unit 'parsecs')"},
      {"2GB", " (GB is 1000 for some and 1024 for others)"},
      {"0.3", " (not a whole number of bytes)"},
      {"1.0000001G", " (more than six decimals)"},
      {"18446744073709551616", " (too large)"},
      {"16777216TiB", " (too large)"},
      {"99999999999999999999999999999999999999999999999999", " (too large)"},
  };
  for (const auto& [text, why] : cases) {
    const Result<Bytes> size = ParseSize(text);
    ASSERT_FALSE(size.ok()) << text;
    EXPECT_EQ(size.status().code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(size.status().message(), "'" + std::string(text) + "' is not a size" + why + forms);
  }
}

TEST(Size, PrintsForPeople) {
  EXPECT_EQ(FormatSize(Bytes(0)), "0B");
  EXPECT_EQ(FormatSize(Bytes(96)), "96B");
  EXPECT_EQ(FormatSize(Bytes(1023)), "1023B");
  EXPECT_EQ(FormatSize(Bytes(1024)), "1KiB");
  EXPECT_EQ(FormatSize(Bytes(1536 * kMiB)), "1.5GiB");
  EXPECT_EQ(FormatSize(Bytes(2 * kGiB)), "2GiB");
  EXPECT_EQ(FormatSize(Bytes(kGiB - 1)), "1GiB");
  EXPECT_EQ(FormatSize(Bytes(UINT64_MAX)), "16777216TiB");
}

TEST(Size, ExactFormLosesNothing) {
  for (const std::uint64_t bytes :
       {0UL, 1UL, 4097UL, 4096UL, 1536 * kMiB, 2 * kGiB, 2048 * 1024 * kGiB, UINT64_MAX}) {
    const Result<Bytes> back = ParseSize(FormatSizeExact(Bytes(bytes)));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(back->value(), bytes);
  }
  EXPECT_EQ(FormatSizeExact(Bytes(1536 * kMiB)), "1536MiB");
  EXPECT_EQ(FormatSizeExact(Bytes(4097)), "4097");
}

TEST(Ratio, Reads) {
  ASSERT_TRUE(ParseRatio("1:3").ok());
  EXPECT_EQ(ParseRatio("1:3").value(), (Ratio{1, 3}));
  for (const char* bad : {"", "1", "0:3", "1:0", "1:", ":1", "1:1001", "a:b", "1:2:3", "-1:2", "1 : 3"}) {
    const Result<Ratio> ratio = ParseRatio(bad);
    ASSERT_FALSE(ratio.ok()) << bad;
    EXPECT_EQ(ratio.status().message(),
              "'" + std::string(bad) +
                  "' is not a ratio: write it like 1:3 (local:remote, whole numbers from 1 to 1000)");
  }
}

TEST(Ratio, LocalPartIsRoundedUpToPages) {
  EXPECT_EQ(LocalPart({1, 3}, Bytes(kGiB), kBasePage).value(), 256 * kMiB);
  EXPECT_EQ(LocalPart({1, 2}, Bytes(4 * 4096), kBasePage).value(), 2 * 4096);
  EXPECT_EQ(LocalPart({1, 1000}, Bytes(4096), kBasePage).value(), 4096);
  EXPECT_EQ(LocalPart({1, 3}, Bytes(1ULL << 63), kHugePage).value(), 1ULL << 61);
}

}  // namespace
}  // namespace heca
