# SPDX-License-Identifier: Apache-2.0
"""Nova driver for servers whose memory lies partly on other hosts.

Nothing is imported here: every Python process of the machine passes by at its start (heca_nova.pth).
"""
