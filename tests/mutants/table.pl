#!/usr/bin/env perl
# The tables of mutants. A table has the path of the file that its mutants break: tests/mutants/core/state/node.txt is
# for core/src/state/node.rs. An entry:
#
#   == NAME
#   rule: what must hold and does not                        (mutants of the core)
#   killed by: -p redis-manager --lib TEST ...               (mutants of the adapters; or --test TARGET TEST ...)
#   also killed by: -p redis-manager --lib TEST ...          (for the reader; not run)
#   -- find
#   whole lines with their indentation, which the file has exactly once
#   -- replace
#   what is there instead, or nothing
#
# - Several pairs of `-- find` and `-- replace` may follow each other. All are looked for in the code as it is.
# - `-- in core/src/other.rs` before a `-- find`: from here on the entry breaks another file of the same half.
# - Empty lines at the end of a text are not part of it.
#
# usage: table.pl names core|adapters    the names of a half, sorted
#        table.pl half NAME ...          the half of each
#        table.pl killers [NAME ...]     what each names as its killer; without names, all of the adapters
#        table.pl check                  whether all entries are complete and apply to the code as it is
#        table.pl apply NAME ROOT        breaks the code below ROOT; the files as they were go to ROOT/target/unbroken
#        table.pl revert ROOT            puts them back
use strict;
use warnings;
use File::Basename qw(dirname);
use File::Path qw(make_path remove_tree);

my $tables = dirname($0);
my $code = "$tables/../..";
# Not 255, at which xargs would end the whole run.
$SIG{__DIE__} = sub {
    die @_ if $^S;
    print STDERR @_;
    exit 1;
};

sub read_file {
    my ($path) = @_;
    open my $file, '<:raw', $path or die "$path: $!\n";
    local $/;
    return scalar(<$file>) // '';
}

# Always written anew, never moved: cargo builds what has a new time.
sub write_file {
    my ($path, $text) = @_;
    make_path(dirname($path));
    open my $file, '>:raw', $path or die "$path: $!\n";
    print $file $text or die "$path: $!\n";
    close $file or die "$path: $!\n";
}

# The files below a folder, as paths from there.
sub files_below {
    my ($folder, $below) = (@_, '');
    opendir my $handle, "$folder/$below" or die "$folder/$below: $!\n";
    my @found;
    for my $name (sort grep { !/^\./ } readdir $handle) {
        my $path = "$below$name";
        push @found, -d "$folder/$path" ? files_below($folder, "$path/") : $path;
    }
    return @found;
}

# The entries of a table. What is wrong with one is kept in its problems, so that `check` can tell all of it.
sub read_table {
    my ($half, $path) = @_;
    my $source = "$half/src/" . ($path =~ s/\.txt$/.rs/r);
    my (@entries, $entry, $text);
    my $number = 0;
    for my $line (split /^/, read_file("$tables/$half/$path")) {
        $number++;
        chomp(my $bare = $line);
        my $place = "$half/$path:$number";
        if ($bare =~ /^== ([a-z0-9-]+)$/) {
            $entry = { name => $1, half => $half, place => $place, source => $source, edits => [], problems => [] };
            push @entries, $entry;
            $text = undef;
        } elsif (!$entry) {
            die "$place: before the first entry there is `$bare`\n" if $bare =~ /\S/;
        } elsif ($bare =~ /^==/) {
            die "$place: `$bare` is no name of a mutant\n";
        } elsif ($bare =~ m{^-- in ($half/src/\S+\.rs)$}) {
            $entry->{source} = $1;
            $text = undef;
        } elsif ($bare eq '-- find') {
            push @{ $entry->{edits} }, { source => $entry->{source}, find => '' };
            $text = \$entry->{edits}[-1]{find};
        } elsif ($bare eq '-- replace' && @{ $entry->{edits} } && !defined $entry->{edits}[-1]{replace}) {
            $entry->{edits}[-1]{replace} = '';
            $text = \$entry->{edits}[-1]{replace};
        } elsif ($bare =~ /^-- /) {
            push @{ $entry->{problems} }, "`$bare` is not understood at $place";
            # Its text says nothing.
            $text = \my $skipped;
        } elsif ($text) {
            $$text = ($$text // '') . "$bare\n";
        } elsif ($bare =~ /^(rule|killed by|also killed by): +(.*\S)\s*$/ && !@{ $entry->{edits} } && !defined $entry->{$1}) {
            $entry->{$1} = $2;
        } elsif ($bare =~ /\S/) {
            push @{ $entry->{problems} }, "`$bare` is not understood at $place";
        }
    }
    for my $edit (map { @{ $_->{edits} } } @entries) {
        for my $text (grep { defined } @$edit{qw(find replace)}) {
            $text =~ s/\n+\z/\n/;
            $text = '' if $text eq "\n";
        }
    }
    return @entries;
}

sub read_tables {
    my @entries;
    for my $half (qw(core adapters)) {
        for my $path (files_below("$tables/$half")) {
            die "$half/$path: is no table\n" if $path !~ /\.txt$/;
            push @entries, read_table($half, $path);
        }
    }
    return sort { $a->{name} cmp $b->{name} } @entries;
}

# Where in a file whole lines begin that are these.
sub occurrences {
    my ($text, $lines) = @_;
    my ($from, @found) = (0);
    while ((my $at = index("\n$text", "\n$lines", $from)) >= 0) {
        push @found, $at;
        $from = $at + 1;
    }
    return @found;
}

# The files that an entry breaks, as they are with it: path => text. What keeps it from being applied goes to problems.
sub broken_files {
    my ($entry, $root, $problems, $cache) = @_;
    my %edits;
    for my $edit (@{ $entry->{edits} }) {
        push @{ $edits{ $edit->{source} } }, $edit;
    }
    push @$problems, 'finds nothing' if !%edits;
    my %broken;
    for my $source (sort keys %edits) {
        if (!-f "$root/$source") {
            push @$problems, "there is no $source";
            next;
        }
        my $text = $cache->{$source} //= read_file("$root/$source");
        my %at;
        for my $edit (@{ $edits{$source} }) {
            my $first = $edit->{find} =~ /(\S.*)/ ? $1 : '';
            my @found = $first eq '' ? () : occurrences($text, $edit->{find});
            if ($first eq '') {
                push @$problems, 'a find text is empty';
            } elsif (@found != 1) {
                push @$problems, 'occurs ' . @found . " times in $source: `$first` ...";
            } elsif (!defined $edit->{replace}) {
                push @$problems, "has no replacement for `$first` ...";
            } elsif ($edit->{replace} eq $edit->{find}) {
                push @$problems, "changes nothing at `$first` ...";
            } elsif ($at{ $found[0] }) {
                push @$problems, "replaces `$first` ... twice";
            } else {
                $at{ $found[0] } = $edit;
            }
        }
        # From the end, so that the places before keep their numbers.
        my $end = length $text;
        for my $at (sort { $b <=> $a } keys %at) {
            my $length = length $at{$at}{find};
            push @$problems, "has texts that overlap in $source" if $at + $length > $end;
            substr($text, $at, $length) = $at{$at}{replace};
            $end = $at;
        }
        $broken{$source} = $text;
    }
    return %broken;
}

sub check {
    my ($failed, $cache, %seen) = (0, {});
    my @entries = read_tables();
    for my $entry (@entries) {
        my @problems = @{ $entry->{problems} };
        my $twin = $seen{ $entry->{name} };
        push @problems, "has the name of the one at $twin->{place}" if $twin;
        $seen{ $entry->{name} } = $entry;
        my $killer = $entry->{'killed by'};
        if ($entry->{half} eq 'adapters') {
            my $also = $entry->{'also killed by'} // $killer;
            push @problems, 'names no test'
                if grep { ($_ // '') !~ /^-p [a-z-]+ (--lib|--test [a-z_]+)( [a-z]\S*)+$/ } $killer, $also;
        } else {
            push @problems, 'names no rule' if !defined $entry->{rule};
            push @problems, 'names a killer, and is of the core' if defined $killer;
        }
        my @misfits;
        broken_files($entry, $code, \@misfits, $cache);
        push @problems, 'no longer applies: ' . join('; ', @misfits) if @misfits;
        next if !@problems;
        $failed++;
        printf "%-40s FAILED: %s, at %s\n", $entry->{name}, join('; ', @problems), $entry->{place};
    }
    print "$failed of " . @entries . " failed\n";
    return $failed == 0 && @entries > 0;
}

sub entries_of {
    my %entries = map { $_->{name} => $_ } read_tables();
    return map { $entries{$_} // die "$_: there is no such mutant\n" } @_;
}

sub apply {
    my ($name, $root) = @_;
    my $kept = "$root/target/unbroken";
    die "$name: another mutant is applied to $root; `table.pl revert $root` takes it back\n" if -e $kept;
    my ($entry) = entries_of($name);
    my @problems = @{ $entry->{problems} };
    my %broken = broken_files($entry, $root, \@problems, {});
    die "$name: " . join('; ', @problems) . ", at $entry->{place}\n" if @problems;
    for my $source (sort keys %broken) {
        write_file("$kept/$source", read_file("$root/$source"));
    }
    for my $source (sort keys %broken) {
        write_file("$root/$source", $broken{$source});
    }
}

sub revert {
    my ($root) = @_;
    my $kept = "$root/target/unbroken";
    die "no mutant is applied to $root\n" if !-e $kept;
    for my $source (files_below($kept)) {
        write_file("$root/$source", read_file("$kept/$source"));
    }
    remove_tree($kept);
}

my ($command, @arguments) = @ARGV;
$command //= '';
if ($command eq 'names' && "@arguments" =~ /^(core|adapters)$/) {
    print "$_->{name}\n" for grep { $_->{half} eq $arguments[0] } read_tables();
} elsif ($command eq 'half' && @arguments) {
    print "$_->{half}\n" for entries_of(@arguments);
} elsif ($command eq 'killers') {
    my @entries = @arguments ? entries_of(@arguments) : grep { $_->{half} eq 'adapters' } read_tables();
    print(($_->{'killed by'} // '') . "\n") for @entries;
} elsif ($command eq 'check' && !@arguments) {
    exit(check() ? 0 : 1);
} elsif ($command eq 'apply' && @arguments == 2) {
    apply(@arguments);
} elsif ($command eq 'revert' && @arguments == 1) {
    revert(@arguments);
} else {
    die "usage: table.pl names HALF | half NAME ... | killers [NAME ...] | check | apply NAME ROOT | revert ROOT\n";
}
