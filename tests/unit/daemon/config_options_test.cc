// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/config_options.h"

#include <gtest/gtest.h>

#include <set>

namespace heca::daemon {
namespace {

TEST(ConfigOptions, EveryDefaultIsAcceptedAndComesBack) {
  for (const Option& option : Options()) {
    const Config defaults;
    const std::string text = option.get(defaults);
    Config config;
    const Status set = option.set(config, text);
    EXPECT_TRUE(set.ok()) << option.key << ": " << set.ToString();
    EXPECT_EQ(option.get(config), text) << option.key;
  }
}

TEST(ConfigOptions, EveryOptionIsDescribedOnce) {
  std::set<std::string_view> keys;
  for (const Option& option : Options()) {
    EXPECT_TRUE(keys.insert(option.key).second) << option.key;
    EXPECT_FALSE(option.help.empty()) << option.key;
    EXPECT_FALSE(option.group.empty()) << option.key;
    EXPECT_FALSE(option.value.empty()) << option.key;
    EXPECT_NE(option.kind, ValueKind::kInvalid) << option.key;
    EXPECT_EQ(FindOption(option.key), &option);
  }
  EXPECT_EQ(FindOption("no-such-key"), nullptr);
}

TEST(ConfigOptions, SetsWhatItSays) {
  Config config;
  const std::pair<const char*, const char*> values[] = {
      {"name", "c1"},
      {"donate", "8GiB"},
      {"slab-size", "1G"},
      {"reserve", "off"},
      {"lease-seconds", "5"},
      {"io-grace-ms", "250"},
      {"transport", "tcp"},
      {"metrics-listen", "off"},
      {"log-level", "warn"},
      {"socket-mode", "0600"},
      {"control-listen", "[::1]:0"},
      {"watermark-low", "0"},
      {"watermark-high", "10"},
      {"cpu-latency-us", "20"},
      {"min-residence-ms", "0"},
      {"prefetch", "off"},
      {"prefetch-max", "8"},
      {"loss-wait-seconds", "3"},
      {"compute", "off"},
      {"resume", "false"},
      {"socket-group", "libvirt"},
  };
  for (const auto& [key, value] : values) {
    const Status set = FindOption(key)->set(config, value);
    ASSERT_TRUE(set.ok()) << key << ": " << set.ToString();
  }
  EXPECT_EQ(config.name, "c1");
  EXPECT_EQ(config.donate.value(), 8ULL << 30);
  EXPECT_EQ(config.slab_size.value(), 1ULL << 30);
  EXPECT_FALSE(config.reserve);
  EXPECT_EQ(config.lease.count(), 5);
  EXPECT_EQ(config.io_grace.count(), 250);
  EXPECT_EQ(config.transport, TransportChoice::kTcp);
  EXPECT_EQ(config.metrics_listen, "");
  EXPECT_EQ(config.log_level, LogLevel::kWarn);
  EXPECT_EQ(config.socket_mode, 0600U);
  EXPECT_EQ(config.control_listen, "[::1]:0");
  EXPECT_EQ(config.watermark_low, 0U);
  EXPECT_EQ(config.watermark_high, 10U);
  EXPECT_EQ(config.cpu_latency, std::chrono::microseconds(20));
  ASSERT_TRUE(FindOption("cpu-latency-us")->set(config, "off").ok());
  EXPECT_EQ(config.cpu_latency, std::nullopt);
  EXPECT_FALSE(FindOption("cpu-latency-us")->set(config, "10001").ok());
  EXPECT_FALSE(FindOption("cpu-latency-us")->set(config, "fast").ok());
  EXPECT_EQ(config.min_residence.count(), 0);
  EXPECT_FALSE(config.prefetch);
  EXPECT_EQ(config.prefetch_max, 8U);
  EXPECT_EQ(config.loss_wait.count(), 3);
  EXPECT_FALSE(config.compute);
  EXPECT_FALSE(config.resume);
  EXPECT_EQ(config.socket_group, "libvirt");
}

struct Refusal {
  const char* key;
  const char* value;
  const char* text;
};

class ConfigRefusals : public ::testing::TestWithParam<Refusal> {};

TEST_P(ConfigRefusals, SaysWhatIsAccepted) {
  Config config;
  const Status set = FindOption(GetParam().key)->set(config, GetParam().value);
  EXPECT_EQ(set.code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(set.message(), GetParam().text);
}

INSTANTIATE_TEST_SUITE_P(
    Table, ConfigRefusals,
    ::testing::Values(
        Refusal{"name", "a b", "'a b' is not a name: 1 to 64 letters, digits, '.', '_' or '-'"},
        Refusal{"run-dir", "run", "'run' is not an absolute path"},
        Refusal{"socket", "", "'' is not an absolute path"},
        Refusal{"socket-mode", "0888", "'0888' is not a file mode: write it like 0660"},
        Refusal{"socket-mode", "1777", "'1777' is not a file mode: write it like 0660"},
        Refusal{"control-listen", "7300",
                "'7300' is not an address: write it like 10.1.0.3:7300 or [::1]:7300"},
        Refusal{"data-listen", "a:70000",
                "'a:70000' is not an address: write it like 10.1.0.3:7300 or [::1]:7300"},
        Refusal{"data-listen", "::1:7300",
                "'::1:7300' is not an address: write it like 10.1.0.3:7300 or [::1]:7300"},
        Refusal{"metrics-listen", "no", "'no' is not an address: write it like 10.1.0.3:7300 or [::1]:7300"},
        Refusal{"transport", "udp", "'udp' is none of auto, tcp, rdma"},
        Refusal{"donate", "2XB",
                "'2XB' is not a size (unknown unit 'XB'): write it like 2GiB, 512MiB, 64M or 4096 (bytes)"},
        Refusal{"donate", "3M", "3M is not a multiple of 2MiB"},
        Refusal{"slab-size", "4096", "4096 is out of range: give 2MiB to 1GiB"},
        Refusal{"slab-size", "2GiB", "2GiB is out of range: give 2MiB to 1GiB"},
        Refusal{"lease-seconds", "0", "'0' is not a number from 1 to 86400"},
        Refusal{"lease-seconds", "-5", "'-5' is not a number from 1 to 86400"},
        Refusal{"prefetch-max", "1.5", "'1.5' is not a number from 1 to 1024"},
        Refusal{"reserve", "yes", "'yes' is neither on nor off"},
        Refusal{"log-level", "loud", "'loud' is none of trace, debug, info, warn, error"}));

TEST(ConfigOptions, Peers) {
  const Result<Peer> peer = ParsePeer("m1=10.1.0.3:7300,rack2");
  ASSERT_TRUE(peer.ok());
  EXPECT_EQ(*peer, (Peer{"m1", "10.1.0.3:7300", "rack2"}));
  EXPECT_EQ(*ParsePeer("m1=[::1]:7300"), (Peer{"m1", "[::1]:7300", ""}));
  EXPECT_EQ(ParsePeer("10.1.0.3:7300").status().message(),
            "'10.1.0.3:7300' is not a peer: write it like m1=10.1.0.3:7300 or m1=10.1.0.3:7300,rack2");
  EXPECT_EQ(ParsePeer("=10.1.0.3:7300").status().message(),
            "'' is not a name: 1 to 64 letters, digits, '.', '_' or '-'");
  EXPECT_EQ(ParsePeer("m1=").status().message(),
            "'' is not an address: write it like 10.1.0.3:7300 or [::1]:7300");
}

}  // namespace
}  // namespace heca::daemon
