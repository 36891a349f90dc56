// The shapes that Python hands over; the Python face documents them for its callers.

export interface Song {
  id: string;
  title: string;
  artist: string;
  cover: string;
  cover_small: string;
  src: string;
  peaks: string;
  duration_s: number;
  tags: string[];
  tempo_bpm: number | null;
  engine_label: string;
  page: string;
}

export interface MenuItem {
  id: string;
  label: string;
  icon?: string;
  danger?: boolean;
}

export type SongStatus = "queued" | "processing" | "processed" | "failed" | "no credits" | "cancelled";

export interface SongCard extends Partial<Song> {
  id: string;
  /** The address of the artist's picture, and the colour behind their letter while there is none. */
  artist_picture?: string;
  artist_colour?: string;
  loading?: boolean;
  status?: SongStatus;
  status_text?: string;
  badges?: string[];
  menu?: MenuItem[];
}

export interface Line {
  start_s: number;
  end_s: number;
  text: string;
}

export interface Section {
  name: string;
  start_s: number;
  end_s: number;
}

export interface Job {
  id: string;
  title: string;
  state: SongStatus;
  stage: string | null;
  progress: number;
  message: string;
  /** Why it ended, for people; empty while it is at work. */
  reason?: string;
  eta_s: number | null;
  song_ids: string[];
  position: number | null;
}

export interface Balance {
  available_credits: number;
  held_credits: number;
}
