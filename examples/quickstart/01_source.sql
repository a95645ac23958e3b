-- A stream of auction events: relations person, auction and bid.
CREATE SOURCE nexmark FROM GENERATOR NEXMARK (EVENTS PER SECOND 1000, PREFIX '');
