"""One person's clips -> portrait folder (`prepare`), its loader (`portrait`), a look at videos before (`check`)."""
