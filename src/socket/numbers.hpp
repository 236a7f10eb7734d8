// Numbers that programs pass: the host's (Linux) for levels and options, QNX's for the options that Linux has not.
// Sources: Linux asm-generic/socket.h, in.h, tcp.h, udp.h; QNX sys/socket.h (SO_SETFIB, SO_TXPRIO, SO_VLANPRIO).
#pragma once

namespace iopkt::socket::num {

inline constexpr int kAfInet = 2, kAfInet6 = 10;
inline constexpr int kStream = 1, kDgram = 2, kRaw = 3;
inline constexpr int kShutRead = 0, kShutWrite = 1, kShutBoth = 2;

inline constexpr int kSolSocket = 1, kSolIp = 0, kSolTcp = 6, kSolUdp = 17, kSolUdpLite = 136, kSolRaw = 255, kSolIpv6 = 41, kSolIcmpv6 = 58;

enum So : int {
  so_debug = 1, so_reuseaddr = 2, so_type = 3, so_error = 4, so_dontroute = 5, so_broadcast = 6, so_sndbuf = 7,
  so_rcvbuf = 8, so_keepalive = 9, so_oobinline = 10, so_no_check = 11, so_priority = 12, so_linger = 13,
  so_bsdcompat = 14, so_reuseport = 15, so_passcred = 16, so_peercred = 17, so_rcvlowat = 18, so_sndlowat = 19,
  so_rcvtimeo_old = 20, so_sndtimeo_old = 21, so_bindtodevice = 25, so_attach_filter = 26, so_detach_filter = 27,
  so_timestamp_old = 29, so_acceptconn = 30, so_sndbufforce = 32, so_rcvbufforce = 33, so_timestampns_old = 35,
  so_mark = 36, so_protocol = 38, so_domain = 39, so_rxq_ovfl = 40, so_peek_off = 42, so_busy_poll = 46,
  so_incoming_cpu = 49, so_incoming_napi_id = 56, so_cookie = 57, so_zerocopy = 60,
  so_setfib = 0x100a, so_txprio = 0x100b, so_vlanprio = 0x100c,
};

enum Ip : int {
  ip_tos = 1, ip_ttl = 2, ip_hdrincl = 3, ip_options = 4, ip_recvopts = 6, ip_retopts = 7, ip_pktinfo = 8, ip_mtu_discover = 10,
  ip_recverr = 11, ip_recvttl = 12, ip_recvtos = 13, ip_mtu = 14, ip_freebind = 15, ip_transparent = 19,
  ip_recvorigdstaddr = 20, ip_minttl = 21, ip_bind_address_no_port = 24, ip_recverr_rfc4884 = 26, ip_multicast_if = 32, ip_multicast_ttl = 33,
  ip_multicast_loop = 34, ip_add_membership = 35, ip_drop_membership = 36,
  ip_unblock_source = 37, ip_block_source = 38, ip_add_source_membership = 39, ip_drop_source_membership = 40,
  ip_msfilter = 41, mcast_join_group = 42, mcast_block_source = 43, mcast_unblock_source = 44, mcast_leave_group = 45,
  mcast_join_source_group = 46, mcast_leave_source_group = 47, mcast_msfilter = 48, ip_multicast_all = 49,
  ip_local_port_range = 51,
};

/// Linux in6.h; RFC 3493 section 5 and RFC 3542.
enum Ipv6 : int {
  ipv6_checksum = 7, ipv6_unicast_hops = 16, ipv6_multicast_if = 17, ipv6_multicast_hops = 18, ipv6_multicast_loop = 19,
  ipv6_join_anycast = 27, ipv6_leave_anycast = 28,
  ipv6_add_membership = 20, ipv6_drop_membership = 21, ipv6_multicast_all = 29,
  ipv6_mtu_discover = 23, ipv6_mtu = 24, ipv6_recverr = 25, ipv6_v6only = 26, ipv6_recvpktinfo = 49, ipv6_pktinfo = 50,
  ipv6_recvhoplimit = 51, ipv6_hoplimit = 52, ipv6_dontfrag = 62, ipv6_recvtclass = 66, ipv6_tclass = 67,
  ipv6_minhopcount = 73, ipv6_recvorigdstaddr = 74, ipv6_freebind = 78,
  ipv6_pathmtu = 61, ipv6_autoflowlabel = 70, ipv6_addr_preferences = 72,
  ipv6_recvhopopts = 53, ipv6_hopopts = 54, ipv6_rthdrdstopts = 55, ipv6_recvrthdr = 56, ipv6_rthdr = 57, ipv6_recvdstopts = 58,
  ipv6_dstopts = 59, ipv6_recvpathmtu = 60,
  ipv6_recverr_rfc4884 = 31, ipv6_hdrincl = 36,
  ipv6_flowinfo = 11, ipv6_flowlabel_mgr = 32, ipv6_flowinfo_send = 33,
  ipv6_2292pktinfo = 2, ipv6_2292hopopts = 3, ipv6_2292dstopts = 4, ipv6_2292rthdr = 5, ipv6_2292hoplimit = 8,  // RFC 2292
};

enum Raw : int { icmp_filter = 1, icmp6_filter = 1 };

enum Tcp : int {
  tcp_nodelay = 1, tcp_maxseg = 2, tcp_cork = 3, tcp_keepidle = 4, tcp_keepintvl = 5, tcp_keepcnt = 6, tcp_syncnt = 7,
  tcp_linger2 = 8, tcp_defer_accept = 9, tcp_window_clamp = 10, tcp_info = 11, tcp_quickack = 12, tcp_congestion = 13,
  tcp_user_timeout = 18, tcp_fastopen = 23, tcp_notsent_lowat = 25, tcp_fastopen_connect = 30, tcp_fastopen_key = 33,
  tcp_md5sig = 14, tcp_md5sig_ext = 32, tcp_ao_add_key = 38, tcp_ao_del_key = 39, tcp_ao_info = 40, tcp_ao_get_keys = 41,
};

enum Udp : int { udp_cork = 1, udp_segment = 103, udp_gro = 104 };

enum UdpLite : int { udplite_send_cscov = 10, udplite_recv_cscov = 11 };

}  // namespace iopkt::socket::num
