# SPDX-License-Identifier: MIT
# Perl's Gearman::Client and Gearman::Worker; the lines are in ../lines.md.
use strict;
use warnings;
use MIME::Base64 ();

my ($role, $host, $port, $name) = @ARGV;
$| = 1;
binmode STDOUT;

sub say_line { print join(' ', @_), "\n"; }
sub blob { my $data = shift; return $data eq '' ? '-' : MIME::Base64::encode_base64($data, ''); }
sub unblob { my $word = shift; return $word eq '-' ? '' : MIME::Base64::decode_base64($word); }

sub content {
    open my $file, '<:raw', shift or die $!;
    local $/;
    return scalar <$file>;
}

sub serve {
    my $worker = Gearman::Worker->new(job_servers => ["$host:$port"]);
    my %functions = (
        shift => sub {
            my $workload = $_[0]->arg;
            $workload =~ tr/\x00-\xff/\x01-\xff\x00/;
            return $workload;
        },
        pieces => sub {
            $worker->send_work_data($_[0], 'one');
            $worker->send_work_data($_[0], 'two');
            return 'three';
        },
        warn     => sub { $worker->send_work_warning($_[0], 'careful'); return 'done'; },
        progress => sub { $_[0]->set_status(1, 2);                      return 'done'; },
        fail     => sub { return undef; },
        raise    => sub { die "broken\n"; },
        hold     => sub { $_[0]->set_status(1, 2); return content($_[0]->arg); },
    );
    $worker->register_function("$name-$_" => $functions{$_}) for keys %functions;
    $worker->work;
}

sub run {
    my ($client, $function, $workload, %options) = @_;
    my $tasks = $client->new_task_set;
    $tasks->add_task(
        $function,
        \$workload,
        {   %options,
            on_complete  => sub { say_line('complete', blob(${ $_[0] })); },
            on_fail      => sub { say_line('fail'); },
            on_exception => sub { say_line('exception', blob($_[0])); },
            on_data      => sub { say_line('data', blob(${ $_[0] })); },
            on_warning   => sub { say_line('warning', blob(${ $_[0] })); },
            on_status    => sub { say_line('status', @_); },
        }
    );
    $tasks->wait;
}

sub answer {
    my $client = Gearman::Client->new(job_servers => ["$host:$port"], exceptions => 1);
    while (my $line = <STDIN>) {
        my ($verb, @words) = split ' ', $line;
        if ($verb eq 'ask') {
            my $status = $client->get_status($words[0]);
            say_line('state', map { $_ || 0 } $status->known, $status->running, @{ $status->progress || [0, 0] });
            next;
        }
        my ($function, $priority, $unique, $workload) = @words;
        my %options = (priority => $priority);
        $options{uniq} = $unique unless $unique eq '-';
        if ($verb eq 'queue') {
            say_line('created', $client->dispatch_background($function, \unblob($workload), \%options));
        }
        else {
            run($client, $function, unblob($workload), %options);
        }
    }
}

unless (eval { require Gearman::Client; require Gearman::Worker; 1 }) {
    say_line('missing', blob('Gearman::Client'));
    exit 0;
}
say_line('ready', Gearman::Client->VERSION);
$role eq 'worker' ? serve() : answer();
