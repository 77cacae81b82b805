"""What several tests need: servers on loopback, exports of wikis, toy runs."""
